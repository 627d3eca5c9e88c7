//! A heal run: which receivers are notified of it, from none to all of the escalation policy.

use chrono::{DateTime, Utc};
use shared::events::{HealFinished, HealOutcome};
use shared::model::{HealRuns, Receiver, Subject};
use shared::store::notifications::members;
use shared::store::notifications::subjects;
use shared::store::{StoreError, Transaction};
use uuid::Uuid;

use crate::App;
use crate::apply::LockedGroup;
use crate::evaluate;
use crate::membership::{GroupRef, groups_of};
use crate::notification::{NotificationKind, ProblemState};
use crate::plan::{About, Key, Planned, Trigger};
use crate::problem;
use crate::rules::Rules;

/// What follows from a heal run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    Ignore,
    /// A line in our own log.
    Log,
    /// The group's receivers that take heal runs are notified: of failed ones also those that page.
    Notify {
        failed: bool,
    },
    /// All receivers of the escalation policy are notified at once.
    Escalate,
}

fn response(attempt: u32, outcome: HealOutcome) -> Response {
    match (attempt, outcome) {
        (_, HealOutcome::GaveUp) => Response::Escalate,
        (0 | 1, _) => Response::Ignore,
        (2, _) => Response::Log,
        (3.., outcome) => Response::Notify { failed: outcome == HealOutcome::Failed },
    }
}

/// Acts on a heal run.
///
/// # Errors
/// When the database can't be used: the event has to be received again.
pub(crate) async fn run(
    app: &App,
    rules: &Rules,
    run: &HealFinished,
    event_id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let HealFinished { incident, playbook, attempt, message, .. } = run;
    let incident_id = &incident.incident_id;
    let subject = Subject::Incident(incident_id.clone());
    let remark = format!("{playbook}, attempt {attempt}: {message}");
    match response(*attempt, run.outcome) {
        Response::Ignore => Ok(()),
        Response::Log => {
            tracing::warn!(incident.id = %incident_id, "{playbook} ran a second time for {incident_id}: {message}");
            Ok(())
        }
        Response::Escalate => evaluate::run(app, rules, &subject, &Trigger::HealFailed { remark }, event_id, now).await,
        Response::Notify { failed } => {
            for group in groups_of(app, rules, &subject, now).await? {
                let report = Report { rules, group: &group, subject: &subject, failed, remark: &remark, event_id, now };
                report.run(app).await?;
            }
            Ok(())
        }
    }
}

/// The notification of a heal run to one group. What people know of the problem does not change.
struct Report<'a> {
    rules: &'a Rules,
    group: &'a GroupRef,
    subject: &'a Subject,
    failed: bool,
    remark: &'a str,
    event_id: Uuid,
    now: DateTime<Utc>,
}

impl Report<'_> {
    async fn run(&self, app: &App) -> Result<(), StoreError> {
        app.store
            .transaction(|mut client| async move {
                let transaction = client.transaction().await?;
                if self.run_in(&transaction).await? {
                    transaction.commit().await?;
                }
                Ok(())
            })
            .await
    }

    /// Whether there is something to commit.
    async fn run_in(&self, transaction: &Transaction<'_>) -> Result<bool, StoreError> {
        let Some(locked) = LockedGroup::lock(transaction, self.group, self.now).await? else { return Ok(false) };
        let (present, known) = tokio::try_join!(
            subjects::find_within(transaction, self.subject, None),
            members::find(transaction, locked.key, self.subject)
        )?;
        let Some(present) = present else { return Ok(false) };
        let member = problem::member(self.rules, self.subject, &present, known.as_ref(), self.now)?;
        if let Some(mute) = member.muted_by {
            tracing::debug!(incident = %self.subject, %mute, "ignored a heal run: the incident is muted");
            return Ok(false);
        }
        // An acknowledged problem wakes no one else; and a page needs a receiver that is notified of the end.
        let failed = self.failed && member.state != ProblemState::Acknowledged && member.is_known();
        let planned = Planned {
            kind: NotificationKind::Heal,
            is_part: locked.count(None).await?.counts.total() > 1,
            remark: Some(self.remark.to_owned()),
            receivers: receivers(&locked.settings.receivers, failed),
            about: About::One(member.problem),
            key: Key::Event,
        };
        locked.insert(planned, self.event_id, self.now).await?;
        Ok(true)
    }
}

/// The receivers of a heal run; of a failed one all, where no channel takes heal runs.
fn receivers(all: &[Receiver], failed: bool) -> Vec<Receiver> {
    let takes = |receiver: &&Receiver| match receiver.channel().traits().heal_runs {
        HealRuns::All => true,
        HealRuns::Failed => failed,
        HealRuns::None => false,
    };
    let some: Vec<_> = all.iter().filter(takes).cloned().collect();
    if some.is_empty() && failed { all.to_vec() } else { some }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_is_notified_to_more_receivers() {
        use HealOutcome::{Failed, GaveUp, Succeeded};
        for (attempt, outcome, wanted) in [
            (1, Failed, Response::Ignore),
            (1, Succeeded, Response::Ignore),
            (2, Failed, Response::Log),
            (2, Succeeded, Response::Log),
            (3, Failed, Response::Notify { failed: true }),
            (3, Succeeded, Response::Notify { failed: false }),
            (7, Failed, Response::Notify { failed: true }),
            (1, GaveUp, Response::Escalate),
            (5, GaveUp, Response::Escalate),
        ] {
            assert_eq!(response(attempt, outcome), wanted, "{attempt} {outcome:?}");
        }
    }

    #[test]
    fn a_failed_heal_run_pages_and_reaches_e_mail_only_where_no_other_channel_is() {
        let parse = |names: &[&str]| names.iter().map(|name| Receiver::parse(name).unwrap()).collect::<Vec<_>>();
        for (all, failed, wanted) in [
            (&["slack", "sms", "email"][..], false, &["slack"][..]),
            (&["slack", "sms", "email"][..], true, &["slack", "sms"][..]),
            (&["email"][..], true, &["email"][..]),
            (&["email"][..], false, &[][..]),
        ] {
            assert_eq!(receivers(&parse(all), failed), parse(wanted), "{all:?} {failed}");
        }
    }
}
