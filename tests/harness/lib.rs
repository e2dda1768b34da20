//! What the suites stand on: servers, clients, models and judges.
