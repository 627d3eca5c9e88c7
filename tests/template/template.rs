//! `template.yaml` as JSON: the short forms (`!Ref X`) are spelt out (`{"Ref": "X"}`), the globals merged in.

use serde_json::{Map, Value, json};
use serde_norway::Value as Yaml;

use crate::code;

/// What is deployed.
pub(crate) struct Template(Value);

impl Template {
    pub(crate) fn read() -> Self {
        let yaml: Yaml = serde_norway::from_str(&code::read("template.yaml")).unwrap();
        Self(spelt_out(yaml))
    }

    /// The properties of this resource.
    pub(crate) fn resource(&self, name: &str) -> &Value {
        let properties = &self.0["Resources"][name]["Properties"];
        assert!(properties.is_object(), "no resource {name}");
        properties
    }

    /// Each resource of this type, with its properties.
    pub(crate) fn of_type(&self, wanted: &str) -> impl Iterator<Item = (String, &Value)> {
        let resources = self.0["Resources"].as_object().unwrap();
        resources
            .iter()
            .filter(move |(_, resource)| resource["Type"] == wanted)
            .map(|(name, resource)| (name.clone(), &resource["Properties"]))
    }

    /// The properties of this folder's function, globals included.
    pub(crate) fn function(&self, folder: &str) -> Value {
        let mut merged = self.0["Globals"]["Function"].clone();
        merge(&mut merged, self.resource(&code::logical_name(folder, "Function")));
        merged
    }

    /// The properties of the one resource that this value refers to, by `Ref` or by `GetAtt NAME.Arn`.
    pub(crate) fn referred(&self, reference: &Value) -> (String, &Value) {
        let name = reference["Ref"].as_str().or_else(|| reference["Fn::GetAtt"].as_str()?.strip_suffix(".Arn"));
        let name = name.unwrap_or_else(|| panic!("{reference} refers to nothing"));
        (name.to_owned(), self.resource(name))
    }

    /// The declared parameters.
    pub(crate) fn parameters(&self) -> &Map<String, Value> {
        self.0["Parameters"].as_object().unwrap()
    }

    /// The variables that this folder's function gets.
    pub(crate) fn variables(&self, folder: &str) -> Map<String, Value> {
        self.function(folder)["Environment"]["Variables"].as_object().unwrap().clone()
    }
}

fn spelt_out(yaml: Yaml) -> Value {
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
            let entry = |(key, value): (Yaml, Yaml)| (key.as_str().unwrap().to_owned(), spelt_out(value));
            Value::Object(entries.into_iter().map(entry).collect())
        }
        plain => serde_json::to_value(plain).unwrap(),
    }
}

/// As SAM does: maps are merged, anything else is replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[test]
fn short_forms_and_globals_are_read_as_sam_reads_them() {
    let yaml = serde_norway::from_str("a: !GetAtt B.Arn\nc: !If [D, !Sub '${E}', !Ref F]").unwrap();
    let wanted = json!({"a": {"Fn::GetAtt": "B.Arn"}, "c": {"Fn::If": ["D", {"Fn::Sub": "${E}"}, {"Ref": "F"}]}});
    assert_eq!(spelt_out(yaml), wanted);
    let mut global = json!({"x": {"y": 1, "z": 2}, "list": [1]});
    merge(&mut global, &json!({"x": {"y": 3}, "list": [2]}));
    assert_eq!(global, json!({"x": {"y": 3, "z": 2}, "list": [2]}));
}
