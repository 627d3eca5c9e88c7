//! The routes of events in `template.yaml`: rule, queue, function. Parsed from the deployed file, so that the local bus can't
//! differ from it. Pure.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use serde_norway::Value as Yaml;

use super::pattern::Pattern;

/// The deployed template.
const TEMPLATE: &str = include_str!("../../../template.yaml");

/// The rules of the bus.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Routes {
    pub(crate) rules: Vec<Rule>,
    pub(crate) queues: Vec<Queue>,
}

/// The rules and the queues.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) pattern: Pattern,
    /// The queues' names.
    pub(crate) queues: Vec<String>,
}

/// A queue, and the function that reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Its name in the template.
    pub(crate) name: String,
    /// The function's name in the template.
    pub(crate) function: String,
    /// The delay before a message is delivered.
    pub(crate) delay: Duration,
    /// A message that has failed for this long is set aside: the receive count of AWS, times its interval.
    pub(crate) patience: Duration,
    /// The function's batch size, concurrency and timeout.
    pub(crate) batch: usize,
    pub(crate) concurrency: usize,
    pub(crate) timeout: Duration,
}

impl Routes {
    /// Those of our own template.
    ///
    /// # Errors
    /// When it has a rule that the local bus does not support.
    pub(crate) fn ours() -> anyhow::Result<Self> {
        Self::parse(TEMPLATE).context("template.yaml")
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let template = spelt_out(serde_norway::from_str(text)?)?;
        let mut routes = Self { rules: Vec::new(), queues: Vec::new() };
        for (name, rule) in resources(&template, "AWS::Events::Rule") {
            let rule = Rule::read(rule).with_context(|| format!("rule {name}"))?;
            for queue in &rule.queues {
                if !routes.queues.iter().any(|known| known.name == *queue) {
                    let read = Queue::read(&template, queue).with_context(|| format!("rule {name}, queue {queue}"));
                    routes.queues.push(read?);
                }
            }
            routes.rules.push(rule);
        }
        Ok(routes)
    }

    /// The queues that this event goes to, each once.
    pub(crate) fn of<'a>(&'a self, event: &Value) -> Vec<&'a str> {
        let rules = self.rules.iter().filter(|rule| rule.pattern.matches(event));
        let mut queues: Vec<&str> = rules.flat_map(|rule| rule.queues.iter().map(String::as_str)).collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }
}

impl Rule {
    fn read(rule: &Value) -> anyhow::Result<Self> {
        let pattern = Pattern::parse(&rule["EventPattern"])?;
        let targets = rule["Targets"].as_array().context("it has no targets")?;
        let queue = |target: &Value| {
            if ["Input", "InputPath", "InputTransformer"].iter().any(|name| target.get(name).is_some()) {
                bail!("it changes the event, which is not done here");
            }
            referred(&target["Arn"]).context("its target is no queue of this template")
        };
        Ok(Self { pattern, queues: targets.iter().map(queue).collect::<anyhow::Result<_>>()? })
    }
}

impl Queue {
    /// The batch size where the template has none.
    const BATCH: u64 = 10;

    fn read(template: &Value, name: &str) -> anyhow::Result<Self> {
        let queue = resources(template, "AWS::SQS::Queue").find(|(it, _)| *it == name).context("there is none")?.1;
        let reads = |function: &Value| {
            let events = function["Events"].as_object()?;
            events
                .values()
                .find(|event| {
                    event["Type"] == "SQS" && referred(&event["Properties"]["Queue"]).as_deref() == Some(name)
                })
                .cloned()
        };
        let mut functions = resources(template, "AWS::Serverless::Function");
        let found = functions.find_map(|(function, properties)| Some((function, properties, reads(properties)?)));
        let (function, properties, reading) = found.context("no function reads it")?;
        let number = |value: &Value, default: u64| value.as_u64().unwrap_or(default);
        let reading = &reading["Properties"];
        let in_flight = number(&reading["ScalingConfig"]["MaximumConcurrency"], 2);
        Ok(Self {
            name: name.to_owned(),
            function: function.to_owned(),
            delay: Duration::from_secs(number(&queue["DelaySeconds"], 0)),
            patience: Duration::from_secs(
                number(&queue["RedrivePolicy"]["maxReceiveCount"], 10) * number(&queue["VisibilityTimeout"], 30),
            ),
            batch: usize::try_from(number(&reading["BatchSize"], Self::BATCH))?,
            concurrency: usize::try_from(in_flight)?,
            timeout: Duration::from_secs(number(&properties["Timeout"], 3)),
        })
    }
}

/// Each resource of this type, with its properties.
fn resources<'a>(template: &'a Value, wanted: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let all = template["Resources"].as_object().into_iter().flatten();
    all.filter(move |(_, resource)| resource["Type"] == wanted).map(|(name, it)| (name.as_str(), &it["Properties"]))
}

/// The resource whose ARN this is.
fn referred(reference: &Value) -> Option<String> {
    Some(reference["Fn::GetAtt"].as_str()?.strip_suffix(".Arn")?.to_owned())
}

/// YAML as JSON, with short forms (`!Ref X`) spelt out (`{"Ref": "X"}`).
fn spelt_out(yaml: Yaml) -> anyhow::Result<Value> {
    Ok(match yaml {
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let name = match tag.trim_start_matches('!') {
                short @ ("Ref" | "Condition") => short.to_owned(),
                function => format!("Fn::{function}"),
            };
            json!({ name: spelt_out(tagged.value)? })
        }
        Yaml::Sequence(items) => items.into_iter().map(spelt_out).collect::<anyhow::Result<_>>()?,
        Yaml::Mapping(entries) => {
            let entry = |(key, value): (Yaml, Yaml)| {
                Ok((key.as_str().context("a key is no text")?.to_owned(), spelt_out(value)?))
            };
            Value::Object(entries.into_iter().map(entry).collect::<anyhow::Result<_>>()?)
        }
        plain => serde_json::to_value(plain)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, detail: Value) -> Value {
        json!({"source": "watchkeeper", "detail-type": name, "detail": detail})
    }

    #[test]
    fn our_template_s_rules_lead_to_the_functions_that_it_names() {
        let routes = Routes::ours().unwrap();
        let to = |name: &str, detail: Value| {
            let event = event(name, detail);
            let functions = routes.of(&event).into_iter().map(|queue| {
                let queue = routes.queues.iter().find(|it| it.name == queue).unwrap();
                (queue.function.clone(), queue.delay.as_secs())
            });
            functions.collect::<Vec<_>>()
        };
        for name in ["IncidentOpened", "IncidentResolved", "AlertRaised", "AlertEscalated", "HealFinished"] {
            assert_eq!(to(name, json!({})), [("NotifyFunction".to_owned(), 0)], "{name}");
        }
        for (state, wanted) in [("down", 1), ("degraded", 1), ("healthy", 0), ("unknown", 0)] {
            let there = vec![("DispatchFunction".to_owned(), 30); wanted];
            assert_eq!(to("ServiceStateChanged", json!({"to": state})), there, "{state}");
        }
        assert_eq!(to("ReportDeferred", json!({})), [("ReplayFunction".to_owned(), 0)]);
        assert_eq!(to("Unrouted", json!({})), []);
        let foreign = json!({"source": "other", "detail-type": "IncidentOpened", "detail": {}});
        assert_eq!(routes.of(&foreign), [""; 0]);
    }

    #[test]
    fn an_unsupported_rule_is_an_error() {
        let rule = "Resources: {R: {Type: 'AWS::Events::Rule', Properties: {EventPattern: {source: [a]}, Targets: ";
        for (targets, problem) in [
            ("[{Arn: !GetAtt Q.Arn}]", "rule R, queue Q"),
            ("[{Arn: 'arn:aws:sqs:x'}]", "rule R"),
            ("[{Arn: !GetAtt Q.Arn, Input: '{}'}]", "rule R"),
        ] {
            let refused = format!("{:#}", Routes::parse(&format!("{rule}{targets}}}}}}}")).unwrap_err());
            assert!(refused.contains(problem), "{refused}");
        }
        let unknown = "Resources: {R: {Type: 'AWS::Events::Rule', Properties: {EventPattern: {a: [{wildcard: b}]}}}}";
        let refused = format!("{:#}", Routes::parse(unknown).unwrap_err());
        assert!(refused.contains("wildcard"), "{refused}");
    }
}
