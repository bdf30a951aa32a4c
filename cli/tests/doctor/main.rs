//! `doctor`: each fault is really there, and the first line has to name it and what to do.

#[cfg(test)]
mod around;
#[cfg(test)]
mod home;
#[cfg(test)]
mod inside;
#[cfg(test)]
mod joining;
