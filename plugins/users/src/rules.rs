//! What a name and an address may be.

use postern_guest::Failure;

/// In characters.
const NAME_MAX: usize = 100;
/// In octets: RFC 5321 section 4.5.3.1.3, a path of 256 without its brackets.
const EMAIL_MAX: usize = 254;
/// In octets: RFC 5321 section 4.5.3.1.1.
const LOCAL_PART_MAX: usize = 64;

/// The name without blanks around it.
///
/// # Errors
/// `invalid-argument` unless it has 1 to 100 characters and no control characters.
pub(crate) fn name(name: &str) -> Result<String, Failure> {
    let name = name.trim();
    let length = name.chars().count();
    if !(1..=NAME_MAX).contains(&length) {
        let text = format!("name of {length} characters is not 1 to {NAME_MAX}");
        return Err(Failure::invalid_argument(text));
    }
    if let Some(letter) = name.chars().find(|letter| letter.is_control()) {
        let text = format!("name has the control character {letter:?}");
        return Err(Failure::invalid_argument(text));
    }
    Ok(name.to_owned())
}

/// The address without blanks around it. Only its form is looked at; whether it is somebody's, a
/// letter to it would tell.
///
/// # Errors
/// `invalid-argument` unless it is `local@domain`, 3 to 254 octets, without blanks.
pub(crate) fn email(email: &str) -> Result<String, Failure> {
    let email = email.trim();
    let refuse = |why: &str| Err(Failure::invalid_argument(format!("email `{email}` {why}")));
    if email.len() > EMAIL_MAX {
        // The value is left out here: it may be long.
        let text = format!(
            "email of {} octets exceeds the limit of {EMAIL_MAX}",
            email.len()
        );
        return Err(Failure::invalid_argument(text));
    }
    if email
        .chars()
        .any(|letter| letter.is_whitespace() || letter.is_control())
    {
        return refuse("has a blank or a control character");
    }
    let Some((local, domain)) = email.rsplit_once('@') else {
        return refuse("has no `@`");
    };
    if local.is_empty() || local.contains('@') {
        return refuse("is not one name before one `@`");
    }
    if local.len() > LOCAL_PART_MAX {
        return refuse("has more than 64 octets before the `@`");
    }
    if domain.is_empty() || domain.split('.').any(str::is_empty) {
        return refuse("has no domain after the `@`");
    }
    Ok(email.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_1_to_100_characters() {
        let check = |text: &str, ok: bool| assert_eq!(name(text).is_ok(), ok, "{text:?}");
        check("", false);
        check("  ", false);
        check("A", true);
        check(&"é".repeat(100), true);
        check(&"é".repeat(101), false);
        check("A\nB", false);
        assert_eq!(name(" Ada Lovelace ").unwrap(), "Ada Lovelace");
    }

    #[test]
    fn addresses_have_a_name_and_a_domain() {
        let check = |text: &str, ok: bool| assert_eq!(email(text).is_ok(), ok, "{text:?}");
        check("ada@example.org", true);
        check("a@b", true);
        check(" ada@example.org ", true);
        check("ada+tag@sub.example.org", true);
        check("", false);
        check("ada", false);
        check("@example.org", false);
        check("ada@", false);
        check("ada@example.", false);
        check("ada@.org", false);
        check("a@b@c", false);
        check("a b@c", false);
    }

    #[test]
    fn addresses_are_bounded_in_length() {
        let address = |local: usize, domain: usize| {
            email(&format!("{}@{}", "l".repeat(local), "d".repeat(domain)))
        };
        assert!(address(64, 189).is_ok());
        assert_eq!(
            address(64, 190).unwrap_err().message,
            "email of 255 octets exceeds the limit of 254"
        );
        assert!(
            address(65, 1)
                .unwrap_err()
                .message
                .ends_with("more than 64 octets before the `@`")
        );
    }
}
