//! From a binary and an empty home to a brokered call: three commands. The script prints how long it took.

use std::process::Command;

#[test]
fn three_commands_lead_from_an_empty_home_to_a_brokered_call() {
    let mut program = std::env::current_exe().expect("this test");
    program.pop();
    program.pop();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/first-day");
    let output = Command::new(script).arg(program.join("avouch")).output().expect("the script");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    println!("{said}");
    let typed: Vec<&str> = said.lines().filter(|line| line.starts_with("$ ")).collect();
    assert_eq!(
        typed,
        [
            "$ avouch dev",
            "$ avouch secret put github --preset github --value-stdin",
            "$ avouch run -- curl -sS https://api.github.com/user",
        ]
    );
    assert!(said.contains("3 commands (limit 3)"), "{said}");
}
