//! `template.yaml` as JSON, for tests of the deployment.

use serde_json::{Value, json};
use serde_norway::Value as Yaml;

/// The whole of it: the short forms (`!Ref X`) are spelt out (`{"Ref": "X"}`).
#[must_use]
pub fn read() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml");
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    spelt_out(serde_norway::from_str(&text).expect("the template should be YAML"))
}

/// For each rule its pattern and the queue that it fills.
#[must_use]
pub fn rules() -> Vec<(String, Value)> {
    let template = read();
    let resources = template["Resources"].as_object().expect("it has resources");
    let rules = resources.values().filter(|resource| resource["Type"] == "AWS::Events::Rule");
    let rule = |rule: &Value| {
        let target = rule["Properties"]["Targets"][0]["Arn"]["Fn::GetAtt"].as_str().expect("it has a target");
        (target.trim_end_matches(".Arn").to_owned(), rule["Properties"]["EventPattern"].clone())
    };
    rules.map(rule).collect()
}

/// YAML as JSON, with the short forms spelt out.
#[must_use]
pub fn spelt_out(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let name = match tag.trim_start_matches('!') {
                short @ ("Ref" | "Condition") => short.to_owned(),
                function => format!("Fn::{function}"),
            };
            json!({ name: spelt_out(tagged.value) })
        }
        Yaml::Sequence(items) => items.into_iter().map(spelt_out).collect(),
        Yaml::Mapping(entries) => {
            let entry =
                |(key, value): (Yaml, Yaml)| (key.as_str().expect("a key is a text").to_owned(), spelt_out(value));
            Value::Object(entries.into_iter().map(entry).collect())
        }
        plain => serde_json::to_value(plain).expect("plain values are JSON"),
    }
}
