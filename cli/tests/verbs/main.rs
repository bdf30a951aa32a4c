//! What each verb prints, as a table and as JSON, against an issuer and a helper that say always the same.

#[cfg(test)]
mod completions;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod import;
#[cfg(test)]
mod printed;
#[cfg(test)]
mod shapes;
