//! How often a call may branch on its way (RFC 5393 section 5.3): what came is shared among the phones that ring at once.

use tandem_sip::msg::Headers;
use tandem_sip::msg::header::MaxBreadth;

/// What a call without the field may do (section 5.3.3.1).
pub(super) const USUAL: MaxBreadth = MaxBreadth(60);

/// What a call came with. One that cannot be read allows nothing that could be too much.
pub(super) fn of(headers: &Headers) -> MaxBreadth {
    match headers.optional::<MaxBreadth>() {
        Ok(found) => found.unwrap_or(USUAL),
        Err(_) => MaxBreadth(1),
    }
}

/// What each of so many branches may do, all of them no more than what came. `None`: there are too many, which is a 440.
pub(super) fn share(breadth: MaxBreadth, branches: usize) -> Option<MaxBreadth> {
    let branches = u32::try_from(branches.max(1)).ok()?;
    Some(MaxBreadth(breadth.0 / branches)).filter(|share| share.0 > 0)
}

/// The header field of a branch.
pub(super) fn field(breadth: MaxBreadth) -> (String, String) {
    ("Max-Breadth".to_owned(), breadth.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_share_what_came_and_there_are_no_more_of_them() {
        let table = [
            (60, 1, Some(60)),
            (60, 2, Some(30)),
            (60, 7, Some(8)),
            (5, 2, Some(2)),
            (2, 2, Some(1)),
            (1, 2, None),
            (0, 1, None),
        ];
        for (came, branches, each) in table {
            assert_eq!(
                share(MaxBreadth(came), branches),
                each.map(MaxBreadth),
                "{came} {branches}"
            );
            let sum = each.map_or(0, |each| each * u32::try_from(branches).unwrap());
            assert!(sum <= came, "{came} {branches}");
        }
    }

    #[test]
    fn a_call_that_says_nothing_may_branch_sixty_times() {
        let mut headers = Headers::default();
        assert_eq!(of(&headers), MaxBreadth(60));
        for (said, read) in [("7", 7), ("0", 0), ("many", 1)] {
            headers.set("Max-Breadth", said);
            assert_eq!(of(&headers), MaxBreadth(read), "{said}");
        }
        assert_eq!(field(USUAL), ("Max-Breadth".into(), "60".into()));
    }
}
