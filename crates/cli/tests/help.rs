//! Help as people meet it: `--help`, completions in a real shell, man pages through a real formatter.
//! That every command has examples, and that the program takes them, is tested in `args/examples.rs`.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeSet;
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wheelfarm"));
    command.args(args).output().unwrap()
}

fn data(args: &[&str]) -> String {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn long_help_has_examples_and_short_help_has_not() {
    for command in [&["plan"][..], &["patch", "check"], &[]] {
        let long = data(&[command, &["--help"]].concat());
        let short = data(&[command, &["-h"]].concat());
        assert!(long.contains("\nExamples:\n  # "), "{long}");
        assert!(!short.contains("Examples:"), "{short}");
    }
    let help = data(&["help", "resolve"]);
    assert!(help.contains("\nExamples:\n"), "{help}");
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("wheelfarm.bash");
    fs_err::write(&script, data(&["completions", "bash"])).unwrap();
    let complete = |words: &str| {
        let count = words.split(' ').count() - 1;
        let typed = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={count}; \
             \"$(complete -p wheelfarm | sed 's/.*-F \\([^ ]*\\).*/\\1/')\" wheelfarm \"${{COMP_WORDS[-1]}}\" \
             \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let output = Command::new("bash").args(["-c", &typed]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{stderr}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("wheelfarm pl"), "plan");
    assert_eq!(complete("wheelfarm patch re"), "refresh");
    assert_eq!(complete("wheelfarm build --re"), "--rehearse --resume");
    assert_eq!(complete("wheelfarm plan --format g"), "github");
}

/// Of shells that are not on this machine only that there is a script.
#[test]
fn every_shell_gets_a_script_that_it_can_read() {
    for (shell, checked_by) in [
        ("bash", &["bash", "-n"][..]),
        ("zsh", &["zsh", "-n"]),
        ("fish", &["fish", "--no-execute"]),
        ("powershell", &[]),
        ("elvish", &["elvish", "-compileonly"]),
    ] {
        let text = data(&["completions", shell]);
        assert!(
            text.contains("wheelfarm") && text.contains("rehearse"),
            "{shell}"
        );
        let [program, flags @ ..] = checked_by else {
            continue;
        };
        if !is_there(program) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs_err::write(&script, text).unwrap();
        let output = Command::new(program)
            .args(flags)
            .arg(script)
            .output()
            .unwrap();
        assert!(output.status.success(), "{shell}: {output:?}");
    }
}

#[test]
fn every_command_has_a_man_page_with_the_usual_sections() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    let told = data(&["man", "--out", out.to_str().unwrap()]);
    let names: BTreeSet<_> = fs_err::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(told.lines().count(), names.len());
    for name in ["wheelfarm.1", "wheelfarm-plan.1", "wheelfarm-patch-check.1"] {
        assert!(names.contains(name), "{names:?}");
    }
    for name in &names {
        let text = fs_err::read_to_string(out.join(name)).unwrap();
        for section in ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "\"EXIT STATUS\""] {
            assert!(
                text.contains(&format!("\n.SH {section}\n")),
                "{name}: no {section}"
            );
        }
        // groff is part of what `man` needs; where there is no `man`, nobody reads pages.
        if is_there("groff") {
            let output = Command::new("groff")
                .args(["-Kutf8", "-man", "-ww", "-Tutf8"])
                .arg(out.join(name))
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && stderr.is_empty(),
                "{name}: {stderr}"
            );
            let shown = String::from_utf8(output.stdout).unwrap();
            assert!(shown.contains("wheelfarm"), "{name}");
        }
    }
    let one = data(&["man", "patch", "check"]);
    assert_eq!(
        one,
        fs_err::read_to_string(out.join("wheelfarm-patch-check.1")).unwrap()
    );
    assert!(
        one.contains("whether the farm") || one.contains("main branch"),
        "{one}"
    );
}
