//! JWT-SVIDs.
