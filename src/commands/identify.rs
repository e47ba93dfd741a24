use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::args::{TableArgs, target};
use super::files::{is_read_once, read_whole};
use super::objects::{is_undetermined, named_objects, suggest_probe, suggest_to_probe};
use super::{Context, Manual, check_any_found, resolve_all};
use crate::error::{Error, Exit, Kind, again};
use crate::model::{Identification, Needs, Object, Target};
use crate::query::{self, Rules, add_attachers, inventory};
use crate::render::{Failure, IDENTITIES, IdentityRow};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show which program each segment or object belongs to",
    description: "Shows, for each segment and POSIX object, the program that it belongs to, what the program uses \
                  it for, the evidence, the pid of its creator, its state, and the program's own command for \
                  cleaning up, unless it is in use.\n\n\
                  EVIDENCE is, from strong to weak: content (it begins with the program's own header), users (the \
                  processes that use it have the program's name), lock (a process holds the program's lock on it or \
                  on an object that belongs to it), name, key. A name or key is not proof, since any process can \
                  use it. Nothing is removed because of this evidence, and only STATE decides what is kept.\n\n\
                  Contents are read only with permission, and segments are never attached. Therefore, the key is \
                  the only evidence for a segment that no process has attached.",
    examples: &[
        ("shmadm identify", "identify all segments and objects"),
        ("shmadm identify /psm_1a2b3c4d", "identify an object"),
        ("shmadm identify --json", "the same as JSON, with the sources of the rules"),
    ],
    json: "{\"schema\":1,\"identities\":[{\"target\":\"/torch_4711_1_0\",\"product\":\"pytorch\",\"what\":\"…\",\"evidence\":[\"name\"],\"confidence\":\"certain\"|\"likely\"|\"guess\",\"maker\":4711|null,\"maker_running\":true|false|null,\"keep\":false,\"cleanup\":null,\"source\":\"…\"}]}. \
           Segments and objects to which no rule applies are omitted.",
    notes: "--rules FILE adds rules. They take precedence over the built-in ones and also affect STATE. Other \
            commands ignore them. The file is TOML, a table `[[product]]` for each rule. `id` and `source` are \
            required; the other fields are optional.\n\n\
            `pattern` is a regular expression for the whole file name, in which (?<pid>…) is the pid of the creator, \
            in the base given by `base` (10 by default). A pattern that ends in / matches only directories; with \
            `hugetlbfs`, a rule matches only files on hugetlbfs. For segments, `users` lists the names of the \
            program's processes, and `keys` the keys of its segments. If `segments` is true, a segment that one of \
            these processes has attached belongs to the program; if `dest` is also true, only a segment that is \
            marked for destruction does.\n\n\
            `what`, `keep` and `cleanup` say what the program uses the object for, whether it keeps it between \
            runs, and which command of its own cleans up. `together` marks objects that the program needs together: \
            those with the same (?<unit>…) in their names, or all of one owner. (?<lock>…) matches in the names of \
            its lock files. `magic` is the integer that some of its objects begin with.",
};

#[derive(Args, Debug)]
pub(crate) struct IdentifyArgs {
    #[arg(help = super::args::TARGETS_HELP, value_name = "SEGMENT", allow_negative_numbers = true, value_parser = target())]
    segments: Vec<Target>,

    /// Read additional rules from FILE; - for standard input
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,

    /// Ask the kernel whether objects without a known user are in use
    #[arg(long)]
    probe: bool,

    #[command(flatten)]
    table: TableArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    identities: Vec<Identification>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failure>,
}

pub(crate) fn run(args: &IdentifyArgs, context: &mut Context) -> Result<Exit, Error> {
    if let Some(path) = &args.rules {
        context.system.set_rules(rules(path)?);
    }
    let needs = Needs::STATE | Needs::ATTACHERS | Needs::DIRECTORIES;
    let (mut objects, failed) = if args.segments.is_empty() {
        let mut all = inventory(&context.system, needs)?;
        all.extend(named_objects(context, needs, false)?.unwrap_or_default());
        (all, Vec::new())
    } else {
        resolve_all(context, &args.segments, needs).into_objects()
    };
    check_any_found(context, !objects.is_empty() || args.segments.is_empty(), &failed)?;
    if args.probe {
        query::probe(&context.system, &mut objects);
    }
    add_attachers(&context.system, &mut objects)?;
    query::add_servers(&context.system, &mut objects);
    let identify = |object: Object| (query::identify(&context.system, &object), object);
    let undetermined = objects.iter().filter(|object| is_undetermined(&context.system, object)).count();
    let found: Vec<(Option<Identification>, Object)> = objects.into_iter().map(identify).collect();
    if context.json() {
        let identities = found.into_iter().filter_map(|(identity, _)| identity).collect();
        context.report(&Report { identities, failed: context.failure_records(&failed) })?;
    } else {
        let rows = found.into_iter().map(|(identity, object)| IdentityRow::new(identity, &object)).collect();
        let style = args.table.style(context, &["EVIDENCE", "MAKER", "WHAT"]);
        context.print_rows("identities", &IDENTITIES.iter().collect::<Vec<_>>(), rows, &style)?;
    }
    if !args.probe {
        if args.rules.as_deref().is_some_and(is_read_once) {
            let instruction = "run it again with the same input to ";
            suggest_to_probe(context, undetermined, instruction, again("--rules - --probe").without(&["rules"]));
        } else {
            suggest_probe(context, undetermined);
        }
    }
    Ok(context.print_failures(&failed))
}

fn rules(path: &Path) -> Result<Rules, Error> {
    let (name, text) = read_whole(path, |_| Ok(()))?;
    let invalid = |why: String| Error::new(Kind::Failed, format!("cannot read rules from {name}: {why}"));
    let text = String::from_utf8(text).map_err(|error| invalid(error.to_string()))?;
    Rules::parse(&text).map_err(invalid)
}
