//! Profiles of contained sessions, as far as they are names: what asks for a weaker wall is content with a stronger one.

use crate::Name;

/// The profiles that come with avouch, the strongest first.
const BUILT_IN: [&str; 3] = ["strict", "work", "open"];

/// The profiles that a session with this one counts as, itself first. A profile of one's own counts as itself alone.
pub fn counts_as(profile: &Name) -> Vec<Name> {
    let weaker = BUILT_IN.iter().position(|known| profile.as_str() == *known).map(|at| &BUILT_IN[at + 1..]);
    let weaker = weaker.into_iter().flatten().filter_map(|name| Name::parse(name).ok());
    std::iter::once(profile.clone()).chain(weaker).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stronger_profile_counts_as_the_weaker_ones_and_ones_own_as_itself() {
        let names = |profile: &str| -> Vec<String> {
            counts_as(&Name::parse(profile).unwrap()).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names("strict"), ["strict", "work", "open"]);
        assert_eq!(names("work"), ["work", "open"]);
        assert_eq!(names("open"), ["open"]);
        assert_eq!(names("my-own"), ["my-own"]);
    }
}
