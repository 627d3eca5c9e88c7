//! Slack: as a bot, or through an incoming webhook.

mod blocks;
mod bot;
mod webhook;

pub(super) use bot::Bot;
pub(super) use webhook::send as send_to_webhook;
