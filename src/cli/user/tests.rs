//! Changes to a file on disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn user(name: &str) -> LoginUser {
    let keys = ScramKeys::fresh(ScramHash::Sha256, 4096, &Secret::new("x".into())).unwrap();
    LoginUser { name: name.into(), keys, reverse_paths: Vec::new(), from_domains: Vec::new() }
}

#[test]
fn a_file_is_made_for_its_owner_alone_and_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let (path, link) = (directory.path().join("users"), directory.path().join("link"));
    change(&path, true, |text| text.with(&user("ann"))).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    symlink("users", &link).unwrap();
    change(&link, true, |text| text.with(&user("bob"))).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
    assert_eq!(LoginUsers::load(&path).unwrap().0.len(), 2);
    // What a run that was killed has left is in nobody's way.
    fs::write(directory.path().join("users.new"), "half").unwrap();
    change(&path, false, |text| text.without("ann")).unwrap();
    assert_eq!(LoginUsers::load(&path).unwrap().0.len(), 1);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no draft stays");
}

#[test]
fn a_change_that_cannot_be_made_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    let missing = change(&path, false, |text| text.without("ann")).unwrap_err();
    assert_eq!(missing.exit(), Exit::IoError);
    let refused = change(&path, true, |text| text.without("ann")).unwrap_err();
    assert_eq!((refused.exit(), path.exists()), (Exit::Failed, false), "{refused}");
    change(&path, true, |text| text.with(&user("ann"))).unwrap();
    let before = fs::read_to_string(&path).unwrap();
    let again = change(&path, true, |text| text.with(&user("ann"))).unwrap_err();
    assert!(again.to_string().contains("nullmta user passwd"), "{again}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let open = change(&path, true, |text| text.with(&user("bob"))).unwrap_err();
    assert!(open.to_string().contains("chmod 600"), "{open}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

/// Of two changes at once, the later one would have undone the earlier one.
#[test]
fn changes_at_once_are_all_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    change(&path, true, |text| text.with(&user("first"))).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || change(path, true, |text| text.with(&user(&format!("u{number}")))).unwrap());
        }
    });
    assert_eq!(LoginUsers::load(&path).unwrap().0.len(), 9);
}

#[test]
fn a_user_is_listed_with_what_they_may() {
    let some = LoginUser {
        reverse_paths: vec![reverse_path("a@b.example").unwrap(), reverse_path("@.b.example").unwrap()],
        from_domains: vec![from_domain("b.example").unwrap().0],
        ..user("ann")
    };
    assert_eq!(line(&some), "ann  reverse-paths: a@b.example, @.b.example  from-domains: b.example");
    assert_eq!(line(&user("bob")), "bob  reverse-paths: any  from-domains: any");
    let json = serde_json::to_string(&listed(&some)).unwrap();
    assert_eq!(
        json,
        r#"{"name":"ann","reverse-paths":["a@b.example","@.b.example"],"from-domains":["b.example"]}"#
    );
    for bad in ["", "a b", "a\tb", "a\u{7}"] {
        assert!(login_name(bad).is_err(), "{bad:?}");
    }
}
