//! Slack: as a bot, or through an incoming webhook.

mod blocks;
mod bot;
mod webhook;

pub(super) use bot::Bot;
pub(super) use webhook::send as send_to_webhook;

/// Every form in which a notification is shown.
#[cfg(test)]
pub(super) fn rendered(notification: &crate::notification::Notification) -> [serde_json::Value; 3] {
    use blocks::Buttons;
    [
        blocks::message(notification, Buttons::Offered),
        blocks::message(notification, Buttons::None),
        blocks::news(notification),
    ]
}
