//! `template.yaml` as JSON: the short forms (`!Ref X`) are expanded (`{"Ref": "X"}`), the globals merged in.

use serde_json::{Map, Value, json};

use crate::code;

/// The deployment template.
pub(crate) struct Template(Value);

impl Template {
    pub(crate) fn read() -> Self {
        Self(harness::template::read())
    }

    /// The properties of this resource.
    pub(crate) fn resource(&self, name: &str) -> &Value {
        let properties = &self.0["Resources"][name]["Properties"];
        assert!(properties.is_object(), "no resource {name}");
        properties
    }

    /// The deletion and replacement policies of this resource.
    pub(crate) fn deletion_policies(&self, name: &str) -> (&Value, &Value) {
        let resource = &self.0["Resources"][name];
        (&resource["DeletionPolicy"], &resource["UpdateReplacePolicy"])
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

    /// The environment variables of this folder's function.
    pub(crate) fn variables(&self, folder: &str) -> Map<String, Value> {
        let mut variables = self.function(folder)["Environment"]["Variables"].as_object().unwrap().clone();
        variables.retain(|_, value| *value != json!({"Ref": "AWS::NoValue"}));
        variables
    }
}

/// As SAM does: maps are merged, anything else is replaced, functions such as `Ref` too.
fn merge(into: &mut Value, from: &Value) {
    let is_function = from.as_object().is_some_and(|it| it.keys().all(|key| key == "Ref" || key.starts_with("Fn::")));
    match (into, from) {
        (Value::Object(into), Value::Object(from)) if !is_function => {
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
    assert_eq!(harness::template::spelt_out(yaml), wanted);
    let mut global = json!({"x": {"y": 1, "z": 2}, "list": [1], "w": {"Fn::Sub": "w"}});
    merge(&mut global, &json!({"x": {"y": 3}, "list": [2], "w": {"Ref": "W"}}));
    assert_eq!(global, json!({"x": {"y": 3, "z": 2}, "list": [2], "w": {"Ref": "W"}}));
}
