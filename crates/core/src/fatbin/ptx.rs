//! PTX: the text that a driver compiles for the GPU it finds.

use crate::fatbin::code::{Code, CodeError, KernelBudget, parse_target};
use crate::fatbin::image::Kernel;

/// Finds the target and the kernels. PTX is not checked beyond that: a driver does.
pub(super) fn read(text: &[u8], budget: &mut KernelBudget) -> Result<Code, CodeError> {
    let mut code = Code {
        arch: None,
        kernels: Vec::new(),
    };
    let mut rest = text;
    while let Some(at) = rest
        .iter()
        .position(|byte| matches!(byte, b'.' | b'/' | b'"'))
    {
        let (before, from) = rest.split_at(at);
        rest = match from[0] {
            b'.' if !before.last().is_some_and(|&byte| is_name(byte)) => {
                let (directive, after) = word(&from[1..]);
                match directive {
                    b"target" if code.arch.is_none() => code.arch = parse_target(operand(after)),
                    b"entry" => code.kernels.push(Kernel {
                        name: budget.name(word(operand(after)).0)?,
                        code_bytes: None,
                    }),
                    _ => {}
                }
                after
            }
            b'/' if from.starts_with(b"//") => after_first(from, b"\n"),
            b'/' if from.starts_with(b"/*") => after_first(&from[2..], b"*/"),
            // A string ends on its line; that of a damaged text must not swallow the rest.
            b'"' => {
                let line = from[1..]
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b'\n'));
                line.map_or(&[], |length| &from[length + 2..])
            }
            _ => &from[1..],
        };
    }
    code.kernels.sort();
    // A kernel that is declared and defined stands twice.
    code.kernels.dedup();
    Ok(code)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%')
}

/// The word at the start, and what follows it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text.iter().take_while(|&&byte| is_name(byte)).count();
    text.split_at(length)
}

fn operand(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

fn after_first<'a>(text: &'a [u8], end: &[u8]) -> &'a [u8] {
    text.windows(end.len())
        .position(|window| window == end)
        .map_or(&[], |at| &text[at + end.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fatbin::caps::FatbinCaps;

    #[track_caller]
    fn check(text: &str, want_arch: Option<&str>, want_kernels: &[&str]) {
        let mut budget = KernelBudget::new(&FatbinCaps::default());
        let code = read(text.as_bytes(), &mut budget).unwrap();
        assert_eq!(code.arch.map(|arch| arch.to_string()).as_deref(), want_arch);
        let names: Vec<_> = code.kernels.iter().map(|kernel| &kernel.name).collect();
        assert_eq!(names, want_kernels);
    }

    #[test]
    fn target_and_kernels_are_found() {
        check(
            ".version 8.7\n.target sm_90a, debug\n.address_size 64\n\
             .visible .func helper(){ret;}\n\
             \t// .globl _Z1bPf\n\
             .visible .entry _Z1bPf(\n\t.param .u64 p\n)\n.maxntid 128 { ld.param.u64 %rd1, [p]; }\n\
             .weak .entry\n$a$1 (){ret;}\n\0\0",
            Some("9.0a"),
            &["$a$1", "_Z1bPf"],
        );
        check(
            ".target sm_120f\n.visible .entry k;.visible .entry k(){}",
            Some("12.0f"),
            &["k"],
        );
    }

    #[test]
    fn comments_and_strings_hold_no_kernels() {
        check(
            "// .entry a\n/* .entry b\n */ .file 1 \".entry c\" x.entry d",
            None,
            &[],
        );
        check("\" .entry a\n.entry b(", None, &["b"]);
        check("/* .entry a", None, &[]);
        check("// .entry a", None, &[]);
        check("/ .entry a /", None, &["a"]);
    }

    #[test]
    fn a_kernel_without_a_name_is_refused() {
        let mut budget = KernelBudget::new(&FatbinCaps::default());
        assert!(matches!(
            read(b".entry (", &mut budget),
            Err(CodeError::Name { .. })
        ));
        assert!(matches!(
            read(b".entry", &mut budget),
            Err(CodeError::Name { .. })
        ));
    }
}
