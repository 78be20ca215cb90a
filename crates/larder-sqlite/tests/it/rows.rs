//! The log, its triggers, and what happens when they go.
