//! (skeleton) telemetry
