//! The members of a group are counted by SQL and, with the one that changes, in memory: both count alike.

use chrono::Utc;
use harness::Database;
use serde_json::json;
use shared::model::Subject;
use shared::store::notifications::members::{self, Counts, Member};
use shared::store::notifications::mutes::Mute;
use shared::store::notifications::{ProblemState, groups};

fn every_member() -> Vec<Member> {
    let mut members = Vec::new();
    for state in ProblemState::ALL {
        for notified in
            [None, Some(ProblemState::Firing), Some(ProblemState::Acknowledged), Some(ProblemState::Resolved)]
        {
            for muted_by in [None, Some(Mute::Parent("database".to_owned()))] {
                for renewed in [false, true] {
                    members.push(Member {
                        subject: Subject::parse(&format!("INC-{}", members.len())).unwrap(),
                        state,
                        notified,
                        muted_by: muted_by.clone(),
                        labels: None,
                        problem: json!({}),
                        fired_at: Utc::now(),
                        renewed,
                    });
                }
            }
        }
    }
    members
}

#[tokio::test]
async fn sql_and_memory_count_members_alike() {
    let (database, all) = (Database::migrated().await, &every_member());
    let store = database.store();
    let counted = store.transaction(|mut client| async move {
        let transaction = client.transaction().await?;
        groups::lock(&transaction, "group", "route", &json!({}), Utc::now()).await?;
        let mut counted = Vec::new();
        for member in all {
            members::upsert(&transaction, "group", member, Utc::now()).await?;
            counted.push(members::count(&transaction, "group", Some(&member.subject)).await?.counts);
        }
        counted.push(members::count(&transaction, "group", None).await?.counts);
        Ok(counted)
    });
    let mut counts = Counts::default();
    let mut wanted = vec![counts];
    for member in all {
        counts.add(member);
        wanted.push(counts);
    }
    assert_eq!(counted.await.unwrap(), wanted);
}
