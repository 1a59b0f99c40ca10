"""`~` in every setting that is a path, as the command line takes it in a process of its own."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.support import SECRET, Site

PLUGIN = "from receiver import Event, handler\n\n\n@handler(on=Event)\nasync def mine(event, ctx):\n    pass\n"


def test_the_home_folder_is_meant_by_a_tilde_in_every_path(site: Site) -> None:
    home = site.folder / "home"
    for folder in ("plugins", "secrets", "conf"):
        (home / folder).mkdir(parents=True)
    (home / "plugins" / "mine.py").write_text(PLUGIN)
    (home / "signing").write_text(SECRET)
    (home / "signing").chmod(0o600)
    (home / "secrets" / "logs__level").write_text("warning")
    (home / "conf" / "receiver.toml").write_text(
        '[store]\nurl = "sqlite:///~/data/tts.db"\n[audio]\nurl = "~/audio"\n[plugins]\ndirectory = "~/plugins"\n'
        '[sources.aitts]\nprovider = "aitts"\napi_key = "tts_k"\nsigning_secrets_file = "~/signing"\n'
    )
    where = {"HOME": str(home), "TTS_RECEIVER_CONFIG": "~/conf/receiver.toml", "TTS_RECEIVER_SECRETS_DIR": "~/secrets"}
    checked = site.command("check", config=False, **where)
    assert checked.returncode == 0, checked.stderr
    assert "mine" in checked.stdout
    upgraded = site.command("db", "upgrade", config=False, **where)
    assert upgraded.returncode == 0, upgraded.stderr
    assert (home / "data" / "tts.db").exists()
    assert (home / "audio").is_dir()
    assert not list(site.folder.rglob("~*"))


def test_a_user_that_is_not_there_is_said_for_each_path(site: Site) -> None:
    site.configure(
        '[store]\nurl = "sqlite:///~nobody_here/tts.db"\n[audio]\nurl = "~nobody_here/audio"\n'
        '[plugins]\ndirectory = "~nobody_here/plugins"\n',
        source='signing_secrets_file = "~nobody_here/secrets"\n',
    )
    checked = site.command("check")
    assert checked.returncode == 1
    for key in ("store.url", "audio.url", "plugins.directory", "sources.aitts.signing_secrets_file"):
        assert any(key in line and "~nobody_here is no user" in line for line in checked.stderr.splitlines()), key
    for variable in ("TTS_RECEIVER_CONFIG", "TTS_RECEIVER_SECRETS_DIR"):
        named = {"TTS_RECEIVER_CONFIG": str(site.config), variable: "~nobody_here/x"}
        refused = site.command("check", config=False, **named)
        assert refused.returncode != 0
        assert f"{variable}: ~nobody_here/x: ~nobody_here is no user" in refused.stderr
    assert not list(Path(site.folder).rglob("~*"))
