//! What a message says, in words that are the same on every channel. Each text here is one clean line of bounded length;
//! none of it is escaped.

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::Severity;

use super::text::line;
use crate::notification::{Notification, NotificationKind, Problem, ProblemState};

/// A title is cut to this.
const TITLE: usize = 200;
/// Any other value of a problem is cut to this.
const VALUE: usize = 300;
/// All that was tried is cut to this.
const TRIED: usize = 900;
/// What is new names so many of several problems.
const NAMED: usize = 3;

/// One thing that is known of a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub label: &'static str,
    /// What is known.
    pub value: String,
}

/// How a message looks at first sight: the most severe problem that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Something is wrong.
    Firing(Severity),
    /// A person works on it.
    Acknowledged,
    /// It is resolved.
    Resolved,
    /// Something to know.
    Neutral,
}

impl Mood {
    /// How this message looks.
    #[must_use]
    pub fn of(notification: &Notification) -> Self {
        if notification.kind == NotificationKind::Summary {
            return Self::Neutral;
        }
        let states = |state: ProblemState| notification.problems.iter().filter(move |problem| problem.state == state);
        let worst = states(ProblemState::Firing).map(|problem| problem.severity).max();
        match worst {
            Some(severity) => Self::Firing(severity),
            None if states(ProblemState::Acknowledged).next().is_some() => Self::Acknowledged,
            None if notification.problems.is_empty() && notification.kind != NotificationKind::Resolved => {
                Self::Neutral
            }
            None => Self::Resolved,
        }
    }

    /// Its colour, as `0xRRGGBB`.
    #[must_use]
    pub fn colour(self) -> u32 {
        match self {
            Self::Firing(Severity::Critical) => 0x00B4_2318,
            Self::Firing(Severity::High) => 0x00E0_4F16,
            Self::Firing(Severity::Medium) => 0x00CA_8504,
            Self::Firing(Severity::Low) => 0x0047_5467,
            Self::Acknowledged => 0x0017_5CD3,
            Self::Resolved => 0x0006_7647,
            Self::Neutral => 0x0066_7085,
        }
    }
}

/// The one problem that a message is about, if it is about one.
#[must_use]
pub fn only_problem(notification: &Notification) -> Option<&Problem> {
    match notification.problems.as_slice() {
        [problem] if notification.more == 0 => Some(problem),
        _ => None,
    }
}

/// The highest severity that a message names.
#[must_use]
pub fn severity(notification: &Notification) -> Option<Severity> {
    let open = notification.problems.iter().filter(|problem| problem.state != ProblemState::Resolved);
    open.map(|problem| problem.severity)
        .max()
        .or_else(|| notification.problems.iter().map(|problem| problem.severity).max())
}

/// What has happened, in one line without the severity: `Resolved: TypeError in checkout`.
#[must_use]
pub fn headline(notification: &Notification) -> String {
    let what = match only_problem(notification) {
        Some(problem) => title(problem),
        None => several(notification),
    };
    let any = |state: ProblemState| notification.problems.iter().any(|problem| problem.state == state);
    let headline = match notification.kind {
        NotificationKind::Firing => what,
        NotificationKind::Repeat => format!("Still open: {what}"),
        NotificationKind::Acknowledged if any(ProblemState::Firing) => format!("Acknowledged in part: {what}"),
        NotificationKind::Acknowledged => format!("Acknowledged: {what}"),
        NotificationKind::Resolved if any(ProblemState::Firing) || any(ProblemState::Acknowledged) => {
            format!("Resolved in part: {what}")
        }
        NotificationKind::Resolved => format!("Resolved: {what}"),
        NotificationKind::Escalated => format!("Escalated: {what}"),
        NotificationKind::Heal => format!("Repair: {what}"),
        NotificationKind::Summary => format!("While silenced: {what}"),
        // The worst come first, and those that are over last.
        NotificationKind::Digest if Mood::of(notification) == Mood::Resolved => {
            format!("Many at once, all over: {what}")
        }
        NotificationKind::Digest => format!("Many at once: {what}"),
    };
    line(&headline, TITLE + 20)
}

/// As [`headline`], with the severity of what is wrong: `[CRITICAL] TypeError in checkout`.
#[must_use]
pub fn loud_headline(notification: &Notification) -> String {
    match (Mood::of(notification), severity(notification)) {
        (Mood::Firing(_), Some(severity)) => format!("[{severity}] {}", headline(notification)),
        _ => headline(notification),
    }
}

/// A problem's title; there always is one.
#[must_use]
pub fn title(problem: &Problem) -> String {
    let title = line(&problem.title, TITLE);
    if title.is_empty() { "A problem without a title".to_owned() } else { title }
}

/// How many, and what they have in common: `3 problems (application shop)`.
fn several(notification: &Notification) -> String {
    let count = notification.problems.len() + notification.more;
    let problems = if count == 1 { "problem" } else { "problems" };
    match (notification.group.as_deref(), count) {
        (None, 0) => "Watchkeeper".to_owned(),
        (Some(group), 0) => line(group, VALUE),
        (None, _) => format!("{count} {problems}"),
        (Some(group), _) => format!("{count} {problems} ({})", line(group, VALUE)),
    }
}

/// Where it is: `shop (production), service payments-api`.
#[must_use]
pub fn place(problem: &Problem) -> String {
    let mut place = format!("{} ({})", line(&problem.application, VALUE), line(&problem.environment, VALUE));
    if let Some(service) = &problem.service {
        place.push_str(", service ");
        place.push_str(&line(service, VALUE));
    }
    place
}

/// The id to search for: its incident, else its alert.
#[must_use]
pub fn reference(problem: &Problem) -> Option<String> {
    match (&problem.incident_id, problem.alert_id) {
        (Some(incident), _) => Some(line(incident, VALUE)),
        (None, Some(alert)) => Some(format!("alert {alert}")),
        (None, None) => None,
    }
}

/// Where more is shown, if that is an address that may be shown as a link.
#[must_use]
pub fn link(problem: &Problem) -> Option<String> {
    let url = url::Url::parse(problem.url.as_deref()?).ok()?;
    matches!(url.scheme(), "https" | "http").then(|| String::from(url)).filter(|url| url.len() <= 1_000)
}

/// Everything that is known of a problem, but its title, its message and its link.
#[must_use]
pub fn facts(problem: &Problem) -> Vec<Fact> {
    let mut facts = vec![
        Fact { label: "Where", value: place(problem) },
        Fact { label: "Since", value: since(problem) },
        Fact { label: "How bad", value: format!("{}, {}", problem.severity, problem.category) },
        Fact { label: "Seen", value: seen(problem) },
    ];
    if let Some(who) = problem.handled_by.as_ref().filter(|_| problem.state != ProblemState::Firing) {
        // Who has acknowledged what then ended by itself has not resolved it.
        let label = if problem.state == ProblemState::Resolved { "Handled by" } else { "Acknowledged by" };
        facts.push(Fact { label, value: line(who, VALUE) });
    }
    if !problem.tried.is_empty() {
        facts.push(Fact { label: "Tried", value: line(&problem.tried.join("; "), TRIED) });
    }
    if let Some(value) = reference(problem) {
        facts.push(Fact { label: if problem.incident_id.is_some() { "Incident" } else { "Alert" }, value });
    }
    // Of what is only made of signs that are not shown nothing is left.
    facts.retain(|fact| !fact.value.is_empty());
    facts
}

/// The error's own words, on one line, where they say more than the title.
#[must_use]
pub fn message(problem: &Problem, limit: usize) -> Option<String> {
    let message = line(problem.message.as_deref()?, limit);
    (!message.is_empty() && message != title(problem)).then_some(message)
}

/// One of several problems, in one line.
#[must_use]
pub fn entry(problem: &Problem) -> String {
    let (state, title, place) = (state(problem), title(problem), place(problem));
    format!("[{state}] {title}: {place}, since {}, {}", since(problem), seen(problem))
}

fn state(problem: &Problem) -> String {
    match problem.state {
        ProblemState::Firing => problem.severity.to_string(),
        ProblemState::Acknowledged => format!("{}, acknowledged", problem.severity),
        ProblemState::Resolved => "resolved".to_owned(),
    }
}

/// What there is beside the problems that are named: how many more, and the remark.
#[must_use]
pub fn remarks(notification: &Notification) -> Vec<String> {
    let mut remarks = Vec::new();
    if notification.more > 0 {
        remarks.push(format!("and {} more", notification.more));
    }
    if let Some(remark) =
        notification.remark.as_deref().map(|remark| line(remark, VALUE)).filter(|text| !text.is_empty())
    {
        remarks.push(remark);
    }
    remarks
}

/// One line for those who know of it already: `Resolved: TypeError in checkout, shop (production), after 12 min, handled by
/// Ada`.
#[must_use]
pub fn news(notification: &Notification) -> String {
    let mut news = headline(notification);
    if let Some(problem) = only_problem(notification) {
        news = format!("{news}, {}", place(problem));
        if let (ProblemState::Resolved, Some(end)) = (problem.state, problem.resolved_at) {
            news = format!("{news}, after {}", duration(end - problem.since));
        }
        match (&problem.handled_by, problem.state) {
            (Some(who), ProblemState::Acknowledged) => news = format!("{news}, by {}", line(who, VALUE)),
            (Some(who), ProblemState::Resolved) => news = format!("{news}, handled by {}", line(who, VALUE)),
            _ => news = format!("{news}, {}", seen(problem)),
        }
    }
    for problem in notification.problems.iter().take(NAMED).filter(|_| only_problem(notification).is_none()) {
        news = format!("{news}; [{}] {}", state(problem), title(problem));
    }
    for remark in remarks(notification) {
        news = format!("{news}; {remark}");
    }
    news
}

fn since(problem: &Problem) -> String {
    match problem.resolved_at {
        Some(end) if problem.state == ProblemState::Resolved => {
            format!("{} to {} ({})", instant(problem.since), instant(end), duration(end - problem.since))
        }
        _ => instant(problem.since),
    }
}

fn seen(problem: &Problem) -> String {
    let times = match problem.occurrences {
        ..=1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    match problem.users {
        ..=0 => times,
        1 => format!("{times}, by 1 person"),
        people => format!("{times}, by {people} people"),
    }
}

/// An instant as people read it. Always UTC: those who read it may be anywhere.
#[must_use]
pub fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time in the largest two units that it has.
#[must_use]
pub fn duration(time: TimeDelta) -> String {
    let seconds = time.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, ..) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}
