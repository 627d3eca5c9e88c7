//! Operators' switches in `system_config`, changed at runtime.

use harness::{Behaviour, Target, TestStack};

#[tokio::test]
async fn the_switches_stop_probing() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    for (key, value) in [("agent_kill_switch", true), ("agent_monitoring_enabled", false)] {
        let set = |enabled: bool| {
            format!("UPDATE system_config SET value = '{{\"enabled\": {enabled}}}' WHERE key = '{key}'")
        };
        stack.database.execute(&set(value)).await;
        assert_eq!(stack.check_now().await.stopped_by.as_deref(), Some(key));
        stack.database.execute(&set(!value)).await;
    }
    assert_eq!(target.requests(), 0);
    assert_eq!(stack.check_now().await.checked.len(), 1);
}

#[tokio::test]
async fn a_switch_with_an_invalid_value_stops_probing() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    for (key, off) in
        [("agent_kill_switch", "{\"enabled\": false}"), ("agent_monitoring_enabled", "{\"enabled\": true}")]
    {
        for value in ["{\"enabled\": \"maybe\"}", "true", "\"on\"", "[]", "null", "{}"] {
            let sql = format!("UPDATE system_config SET value = '{value}' WHERE key = '{key}'");
            stack.database.execute(&sql).await;
            assert_eq!(stack.check_now().await.stopped_by.as_deref(), Some(key), "{value}");
        }
        stack.database.execute(&format!("UPDATE system_config SET value = '{off}' WHERE key = '{key}'")).await;
    }
    stack.database.execute("DELETE FROM system_config").await;
    assert_eq!(stack.check_now().await.checked.len(), 1, "without rows the switches are off");
}

#[tokio::test]
async fn a_service_that_is_not_checked_any_more_becomes_unknown() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    stack.check_now().await;
    assert_eq!(stack.get("/status").await.text("status"), "healthy");
    stack.database.execute("UPDATE services SET last_checked_at = now() - interval '4 minutes'").await;
    stack
        .database
        .execute("UPDATE system_config SET value = '{\"enabled\": true}' WHERE key = 'agent_kill_switch'")
        .await;
    let status = stack.get("/status").await;
    assert_eq!((status.text("status"), status.text("probing_stopped_by")), ("unknown", "agent_kill_switch"));
}
