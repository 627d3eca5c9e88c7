//! Slack: as a bot, or through an incoming webhook.

mod blocks;
mod bot;
mod webhook;

pub(super) use bot::Bot;
pub(super) use webhook::send as send_to_webhook;

/// Every form in which a notice is shown.
#[cfg(test)]
pub(super) fn rendered(notice: &crate::notice::Notice) -> [serde_json::Value; 3] {
    use blocks::Buttons;
    [blocks::message(notice, Buttons::Offered), blocks::message(notice, Buttons::None), blocks::news(notice)]
}
