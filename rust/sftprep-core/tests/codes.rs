//! Every code has a name of the form `stage.what`, a page, and an exit code of the documented list.

use sftprep_core::error::Code;

#[test]
fn every_code_has_a_page() {
    let mut names = std::collections::BTreeSet::new();
    for code in Code::ALL {
        let name = code.as_str();
        let parts: Vec<&str> = name.split('.').collect();
        assert!(
            parts.len() == 2 && parts.iter().all(|part| !part.is_empty()),
            "{name}"
        );
        assert!(names.insert(name), "{name} twice");
        assert_eq!(Code::from_name(name), Some(*code));
        let page = code.page();
        for (what, text) in [
            ("cause", page.cause),
            ("example", page.example),
            ("fix", page.fix),
        ] {
            assert!(text.len() > 5, "{name} has no {what}");
        }
        assert!(matches!(code.exit_code(), 1..=6 | 130), "{name}");
    }
}
