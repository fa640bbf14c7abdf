"""Music: tracks, separation jobs, their stems. Uses `memory` through its public names."""
