//! Options together with how they were given: clap says it, and forgets it when it fills a struct.

use std::collections::BTreeMap;

use clap::{ArgMatches, Args, Command, Error, FromArgMatches, parser::ValueSource};

use crate::config::{Origin, Setting};

/// A group of options, and which of them the user has set.
#[derive(Clone, Debug)]
pub struct Given<A> {
    /// The options.
    pub args: A,
    sources: BTreeMap<String, ValueSource>,
}

impl<A> Given<A> {
    /// The value of an option, with where it comes from.
    pub fn setting<T>(&self, flag: &'static str, value: Option<T>) -> Option<Setting<T>> {
        let origin = match self.source(flag)? {
            ValueSource::EnvVariable => Origin::Variable(flag),
            _ => Origin::Flag(flag),
        };
        value.map(|value| Setting::new(value, origin))
    }

    /// The values of a repeatable option.
    pub fn settings<T>(&self, flag: &'static str, values: Vec<T>) -> Option<Setting<Vec<Setting<T>>>> {
        let all = self.setting(flag, Some(values))?;
        let origin = all.origin;
        Some(all.map(|values| values.into_iter().map(|value| Setting::new(value, origin)).collect()))
    }

    /// How the first option was given, as the user knows it, if any was.
    pub fn first(&self) -> Option<String> {
        self.sources.iter().next().map(|(id, source)| match source {
            ValueSource::EnvVariable => format!("variable `PREWASM_{}`", id.to_uppercase()),
            _ => format!("`--{}`", id.replace('_', "-")),
        })
    }

    fn source(&self, flag: &str) -> Option<ValueSource> {
        self.sources.get(&flag.replace('-', "_")).copied()
    }
}

impl<A: Args> Args for Given<A> {
    fn augment_args(command: Command) -> Command {
        A::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        A::augment_args_for_update(command)
    }
}

impl<A: Args> FromArgMatches for Given<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self { args: A::from_arg_matches(matches)?, sources: sources::<A>(matches) })
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        // First: filling the struct takes the values away.
        let sources = sources::<A>(matches);
        Ok(Self { args: A::from_arg_matches_mut(matches)?, sources })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.sources.extend(sources::<A>(matches));
        self.args.update_from_arg_matches(matches)
    }
}

fn sources<A: Args>(matches: &ArgMatches) -> BTreeMap<String, ValueSource> {
    let options = A::augment_args(Command::new("options"));
    let given = options.get_arguments().filter_map(|option| {
        let id = option.get_id().as_str();
        let source = matches.value_source(id).filter(|source| *source != ValueSource::DefaultValue)?;
        // The names of options are those of flags; fields may be called otherwise.
        Some((option.get_long().unwrap_or(id).replace('-', "_"), source))
    });
    given.collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Args, Debug)]
    struct Options {
        #[arg(long, env = "PREWASM_TEST_GIVEN_SIZE")]
        big_size: Option<u32>,
        #[arg(long = "dir")]
        dirs: Vec<String>,
        #[arg(long)]
        quick: bool,
    }

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        options: Given<Options>,
    }

    fn parse(args: &[&str]) -> Given<Options> {
        Program::try_parse_from(std::iter::once(&"program").chain(args)).expect("valid").options
    }

    #[test]
    fn what_was_not_given_has_no_setting() {
        let given = parse(&[]);
        assert_eq!(given.setting("big-size", given.args.big_size), None);
        assert_eq!(given.settings("dir", given.args.dirs.clone()), None);
        assert_eq!(given.first(), None);
    }

    #[test]
    fn flags_are_told_by_their_names() {
        let given = parse(&["--big-size", "7", "--dir", "a", "--quick"]);
        assert_eq!(given.setting("big-size", given.args.big_size), Some(Setting::new(7, Origin::Flag("big-size"))));
        let quick = given.setting("quick", Some(given.args.quick));
        assert_eq!(quick, Some(Setting::new(true, Origin::Flag("quick"))));
        assert_eq!(given.settings("dir", given.args.dirs.clone()).map(|dirs| dirs.value.len()), Some(1));
        assert_eq!(given.first().as_deref(), Some("`--big-size`"));
    }
}
