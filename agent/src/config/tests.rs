use clap::CommandFactory as _;

use super::*;

fn read(arguments: &[&str]) -> Result<Options, ConfigError> {
    let arguments = std::iter::once("countersign-agent")
        .chain(arguments.iter().copied())
        .map(Into::into)
        .collect();
    Args::read(arguments, None).map(|args| match args.command {
        Command::Run(options) => *options,
    })
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    std::fs::write(
        &file,
        "hub = \"https://a:1\"\ncluster = \"a\"\ntrust = \"t\"\nnamespace = \"x\"\n",
    )
    .unwrap();
    let options = read(&["run", "--config", file.to_str().unwrap(), "--cluster", "b"]).unwrap();
    assert_eq!(
        (
            options.hub.as_deref().unwrap_or_default(),
            options.cluster.as_str(),
            options.namespace.as_str()
        ),
        ("https://a:1", "b", "x")
    );
}

#[test]
fn a_list_is_a_list_in_the_file_and_words_with_commas_on_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    let text = "hub = \"https://a:1\"\ncluster = \"a\"\ntrust = \"t\"\nallow-namespaces = [\"a\", \"b\"]\n";
    std::fs::write(&file, text).unwrap();
    let options = read(&[
        "run",
        "--config",
        file.to_str().unwrap(),
        "--allow-kinds",
        "*.apps,Secret",
    ])
    .unwrap();
    let rails = options.settings().rails;
    assert_eq!(rails.namespaces, ["a", "b"]);
    assert_eq!(rails.allow.len(), 2);
    assert_eq!(rails.deny, Rails::default().deny);
    let error = read(&[
        "run",
        "--config",
        file.to_str().unwrap(),
        "--deny-kinds",
        "a b",
    ])
    .unwrap_err();
    assert!(error.to_string().contains("--deny-kinds"), "{error}");
}

#[test]
fn an_unknown_key_is_named_with_the_known_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, "hubb = \"https://a:1\"\n").unwrap();
    let error = read(&["run", "--config", file.to_str().unwrap()])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("hubb") && error.contains("token-file"),
        "{error}"
    );
}

#[test]
fn an_agent_is_a_witness_only_with_a_name_and_a_log() {
    let vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let listen = ["--witness-listen", "127.0.0.1:7446"];
    let name = ["--witness-name", "witness.example/w1"];
    let log = ["--witness-log", vkey];
    let least = [
        "run",
        "--hub",
        "https://a:1",
        "--cluster",
        "c",
        "--trust",
        "t",
    ];
    let options = |more: &[&str]| read(&[&least, more].concat());
    assert!(options(&[]).unwrap().witness().is_none());
    assert!(options(&[listen, name].concat()).is_err());
    assert!(options(&[listen, log].concat()).is_err());
    let with = options(&[listen, name, log].concat()).unwrap();
    let settings = with.witness().unwrap();
    assert_eq!(settings.folder, with.data.join("witness"));
    assert_eq!(settings.logs[0].to_string(), vkey);
}

#[test]
fn the_hub_is_on_the_network_or_in_a_folder_never_both() {
    let least = ["run", "--cluster", "c", "--trust", "t"];
    let options = |more: &[&str]| read(&[&least, more].concat());
    let hub = ["--hub", "https://a:1"];
    let import = ["--import-dir", "in"];
    let export = ["--export-dir", "out"];
    let stale = |options: Options| options.stale_seconds();
    assert_eq!(options(&hub).map(stale).unwrap(), 900);
    assert_eq!(options(&import).map(stale).unwrap(), 30 * 24 * 3_600);
    assert!(options(&[import, export].concat()).is_ok());
    for wrong in [
        &[][..],
        &[hub, import].concat(),
        &export,
        &[hub, export].concat(),
    ] {
        let error = options(wrong).unwrap_err().to_string();
        assert!(error.contains("--import-dir"), "{wrong:?}: {error}");
    }
}

#[test]
fn every_option_has_an_environment_variable_and_help() {
    Args::command().debug_assert();
    let table = reference();
    for line in table.lines().skip(2) {
        assert!(
            line.contains("`COUNTERSIGN_AGENT_") && !line.ends_with("|  |"),
            "{line}"
        );
    }
}
