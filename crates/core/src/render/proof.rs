//! The image that a proof starts from: torch and what wheels ask for besides, but no compiler.

use super::template::shell_word;

/// A Dockerfile that adds `requirements` to the image `torch`. They come from `index`, as wheels
/// only.
pub fn proof_dockerfile(torch: &str, index: &str, requirements: &[String]) -> String {
    let words: Vec<_> = requirements.iter().map(|one| shell_word(one)).collect();
    format!(
        "FROM {torch}\nRUN pip install --no-cache-dir --only-binary=:all: --index-url {} {}\n",
        shell_word(index),
        words.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_quoted() {
        let requirements = ["numpy>=1.2; python_version > \"3\"".to_owned()];
        assert_eq!(
            proof_dockerfile(
                "wheelfarm/torch:1",
                "https://pypi.org/simple",
                &requirements
            ),
            "FROM wheelfarm/torch:1\nRUN pip install --no-cache-dir --only-binary=:all: \
             --index-url https://pypi.org/simple 'numpy>=1.2; python_version > \"3\"'\n"
        );
    }
}
