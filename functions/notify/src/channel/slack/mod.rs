//! Slack: as a bot, or through an incoming webhook.

mod blocks;
mod webhook;

pub(super) use webhook::send as send_to_webhook;
