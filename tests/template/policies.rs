//! Least privilege: a function may write its own log, publish on the one bus if it publishes, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::code;
use crate::template::Template;

/// The permissions of a role: action and resource, one by one.
fn grants(role: &Value) -> Vec<(String, Value)> {
    assert_eq!(role.get("ManagedPolicyArns"), None, "managed policies allow more than is needed");
    let policies = role["Policies"].as_array().unwrap();
    let statements = policies.iter().flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap());
    statements
        // A statement under a condition, which has no alternative.
        .map(|statement| match statement["Fn::If"].as_array() {
            Some(choice) => {
                assert_eq!(choice[2], json!({"Ref": "AWS::NoValue"}));
                &choice[1]
            }
            None => statement,
        })
        .inspect(|statement| assert_eq!(statement["Effect"], "Allow"))
        .flat_map(|statement| {
            each(&statement["Action"]).into_iter().flat_map(|action| {
                let action = action.as_str().unwrap().to_owned();
                each(&statement["Resource"]).into_iter().map(move |resource| (action.clone(), resource))
            })
        })
        .collect()
}

/// The elements of a list, or the single value.
fn each(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

/// The name of a resource: the one that it refers to, or its ARN.
fn name(resource: &Value) -> String {
    let reference = resource["Ref"].as_str().or_else(|| resource["Fn::GetAtt"].as_str()?.strip_suffix(".Arn"));
    let name = reference.or(resource["Fn::Sub"].as_str());
    name.unwrap_or_else(|| panic!("{resource} names nothing")).to_owned()
}

/// The properties of the function's own role.
fn role_of<'a>(template: &'a Template, folder: &str) -> &'a Value {
    let function = template.function(folder);
    assert_eq!(function.get("Policies"), None, "SAM ignores Policies beside a Role");
    let (name, role) = template.referred(&function["Role"]);
    assert_eq!(name, code::logical_name(folder, "Role"), "each function has a role of its own");
    role
}

#[test]
fn every_function_has_exactly_the_permissions_that_it_needs() {
    let template = Template::read();
    for folder in code::functions() {
        let log = code::logical_name(&folder, "LogGroup");
        let grant = |action: &str, resource: &str| (action.to_owned(), resource.to_owned());
        let mut wanted = BTreeSet::from([
            grant("logs:CreateLogStream", &log),
            grant("logs:PutLogEvents", &log),
            // Environment and queue, which may be encrypted with the operator's key.
            grant("kms:Decrypt", "KmsKeyArn"),
        ]);
        if code::variables(&folder).contains("EVENT_BUS_NAME") {
            wanted.insert(("events:PutEvents".to_owned(), "EventBus".to_owned()));
        }
        if !template.function(&folder)["EventInvokeConfig"]["DestinationConfig"].is_null() {
            wanted.insert(("sqs:SendMessage".to_owned(), "ProbeDeadLetters".to_owned()));
        }
        let events = template.function(&folder)["Events"].as_object().unwrap().clone();
        for queue in events.values().filter(|event| event["Type"] == "SQS") {
            let (queue, _) = template.referred(&queue["Properties"]["Queue"]);
            let reads = ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"];
            wanted.extend(reads.map(|action| (format!("sqs:{action}"), queue.clone())));
        }
        let granted = grants(role_of(&template, &folder)).into_iter();
        let granted: BTreeSet<_> = granted.map(|(action, resource)| (action, name(&resource))).collect();
        if folder == "notify" {
            for certificate in ["DatabaseCaParameter", "SmtpCaParameter"] {
                let account = "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}";
                wanted.insert(grant("ssm:GetParameters", &format!("{account}:parameter${{{certificate}}}")));
            }
        }
        assert_eq!(granted, wanted, "{folder}");
    }
}

#[test]
fn no_policy_has_a_wildcard() {
    let template = Template::read();
    for (name, role) in template.of_type("AWS::IAM::Role") {
        for (action, resource) in grants(role) {
            assert!(!action.contains('*') && resource.is_object(), "{name}: {action} on {resource}");
        }
    }
}

#[test]
fn a_function_s_role_is_for_lambda_only() {
    let template = Template::read();
    for folder in code::functions() {
        let trust = &role_of(&template, &folder)["AssumeRolePolicyDocument"]["Statement"];
        assert_eq!(trust.as_array().map(Vec::len), Some(1), "{folder}");
        assert_eq!(trust[0]["Principal"]["Service"], "lambda.amazonaws.com", "{folder}");
    }
}
