//! X.509-SVIDs.
