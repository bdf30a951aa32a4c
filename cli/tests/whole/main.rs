//! `demo` and `dev` as a newcomer runs them, with the real parts.

#[cfg(test)]
mod demo;
#[cfg(test)]
mod dev;
#[cfg(test)]
mod first_run;
#[cfg(test)]
mod import;
