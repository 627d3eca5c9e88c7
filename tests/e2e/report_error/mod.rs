//! `POST /api/autonomous/error`.

mod delivery;
mod faults;
mod hostile;
mod journey;
mod rules;
