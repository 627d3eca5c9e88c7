//! Holds `template.yaml`, and the router of `make watch`, against the code: what a function needs is there, and nothing
//! more. `cfn-lint` and `sam validate` (`make check`) check whether AWS would take it; these check whether it fits.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod api;
mod code;
mod deferral;
mod environment;
mod operation;
mod pins;
mod policies;
mod queues;
mod routes;
mod schedule;
mod sizes;
mod template;

use std::collections::BTreeSet;

use template::Template;

#[test]
fn every_function_folder_has_its_function_in_the_template_and_the_reverse() {
    let template = Template::read();
    let wanted: BTreeSet<String> = code::functions().iter().map(|it| code::logical_name(it, "Function")).collect();
    let there: BTreeSet<String> = template.of_type("AWS::Serverless::Function").map(|(name, _)| name).collect();
    assert_eq!(there, wanted);
}

#[test]
fn every_function_runs_the_zip_that_make_build_makes_of_its_folder() {
    let template = Template::read();
    for folder in code::functions() {
        let function = template.function(&folder);
        assert_eq!(function["CodeUri"], format!("target/lambda/{folder}/bootstrap.zip"));
        assert_eq!(function["FunctionName"]["Fn::Sub"], format!("${{AWS::StackName}}-{folder}"));
        assert_eq!((&function["Runtime"], &function["Handler"]), (&"provided.al2023".into(), &"bootstrap".into()));
        assert_eq!(function["Architectures"][0]["Ref"], "Architecture");
    }
}
