"""Opening bundles that strangers made: each trick is refused in a sentence, and nothing is left behind."""

import json
import re
import stat
import struct
import warnings
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile, ZipInfo

import pytest

from avbench import unbundling
from avbench.commands.verifying import main as verify
from avbench.errors import AvbenchError, UsageError
from avbench.unbundling import opened

TRUTH = "truth/small-0123456789ab.parquet"
pytestmark = pytest.mark.usefixtures("no_remains")


def refused(bundle: Path, sentence: str, **how) -> None:
    with pytest.raises(AvbenchError, match=f"^{re.escape(sentence)}$"), opened(bundle, **how):
        pass


def crafted(place: Path, name: str | ZipInfo, content: bytes = b"x") -> Path:
    with ZipFile(place, "w") as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr(name, content)
    return place


def special(kind: int, name: str = TRUTH) -> ZipInfo:
    info = ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info


def test_a_bundle_is_unpacked_and_gone_afterwards(bundle_of_disc, members):
    with opened(bundle_of_disc) as found:
        there = {path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*") if path.is_file()}
        assert there == set(members(bundle_of_disc)) - {"manifest.json"}
        assert found.manifest.by == "A. Author"
    assert not found.folder.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "is an absolute name"),
        ("../up.json", "leads out of the bundle"),
        ("truth/../../up.parquet", "leads out of the bundle"),
        ("C:/windows.json", "names a drive"),
        ("truth\\small.parquet", "has a backslash"),
        ("notes.txt", "has no place in a bundle"),
        ("truth/small-0123456789ab.parquet\n", "has no place in a bundle"),
        ("records/small/.hidden-0123456789ab.json", "has no place in a bundle"),
        ("MANIFEST.JSON", "has no place in a bundle"),
    ],
)
def test_names_that_are_no_members_of_a_bundle(tmp_path, name, reason):
    bundle = crafted(tmp_path / "b.zip", name)
    sentence = f"a member of b.zip cannot be taken, since {name!r} {reason}: make it again with avbench submit"
    refused(bundle, sentence)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_other_special_members(tmp_path, kind):
    bundle = crafted(tmp_path / "b.zip", special(kind), b"/etc/passwd")
    sentence = (
        f"a member of b.zip cannot be taken, since '{TRUTH}' is a link, a folder or another special file: make it "
        "again with avbench submit"
    )
    refused(bundle, sentence)


def test_names_that_extra_fields_put_in_the_place_of_others():
    """As Python from 3.12 on reads the Unicode path among a member's extra fields."""
    info = ZipInfo(TRUTH)
    info.filename = "../../up.parquet"
    sentence = (
        f"a member of b.zip cannot be taken, since '{TRUTH}' has another name in its extra fields: make it again with "
        "avbench submit"
    )
    with pytest.raises(AvbenchError, match=f"^{re.escape(sentence)}$"):
        unbundling._members([info], "b.zip")


def test_names_that_are_there_twice(tmp_path):
    with warnings.catch_warnings(), ZipFile(tmp_path / "b.zip", "w") as archive:
        warnings.simplefilter("ignore")
        for name in ("manifest.json", TRUTH, TRUTH):
            archive.writestr(name, "{}")
    sentence = f"a member of b.zip cannot be taken, since '{TRUTH}' is there twice: make it again with avbench submit"
    refused(tmp_path / "b.zip", sentence)
    with ZipFile(tmp_path / "c.zip", "w") as archive:
        for name in (TRUTH, TRUTH.replace("small", "Small")):
            archive.writestr(name, "{}")
    refused(tmp_path / "c.zip", sentence.replace("b.zip", "c.zip").replace("small", "Small"))


def test_members_that_are_encrypted_or_compressed_unusually(tmp_path):
    bundle = crafted(tmp_path / "b.zip", TRUTH)
    content = bytearray(bundle.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 8  # the flags, in the directory and before the member itself
    content[place] |= 1
    bundle.write_bytes(content)
    sentence = "a member of b.zip cannot be taken, since '{}' is {}: make it again with avbench submit"
    refused(bundle, sentence.format(TRUTH, "encrypted"))
    with ZipFile(bundle, "w", ZIP_LZMA) as archive:
        archive.writestr("manifest.json", "{}")
    refused(bundle, sentence.format("manifest.json", "compressed in an unusual way"))


def test_what_is_no_zip_or_cut_off(tmp_path, bundle_of_disc):
    bundle = tmp_path / "b.zip"
    sentence = (
        "b.zip is no zip, or damaged (File is not a zip file): fetch it again, or make it again with avbench submit"
    )
    whole = bundle_of_disc.read_bytes()
    for content in (b"", b"no zip at all", whole[:-30], whole[: len(whole) // 2]):
        bundle.write_bytes(content)
        refused(bundle, sentence)
    sentence = "^expected a bundle at none.zip, found none: name the file that avbench submit wrote$"
    with pytest.raises(UsageError, match=sentence):
        verify(["none.zip"])


def test_bytes_that_changed_on_the_way(tmp_path, bundle_of_disc, members):
    name = next(name for name in members(bundle_of_disc) if name.endswith("about.json"))
    content = bundle_of_disc.read_bytes().replace(b'"control": true', b'"control": True', 1)
    (tmp_path / "b.zip").write_bytes(content)
    sentence = (
        f"b.zip is no zip, or damaged (Bad CRC-32 for file '{name}'): fetch it again, or make it again with avbench "
        "submit"
    )
    refused(tmp_path / "b.zip", sentence)


def test_a_wrong_hash_or_size(tmp_path, bundle_of_disc, members, rewritten):
    name = next(name for name in members(bundle_of_disc) if name.endswith("timing.json"))

    def change(found):
        found[name] = b'{"0": 9.9999}\n'

    bundle = rewritten(bundle_of_disc, tmp_path / "b.zip", change, honest=False)
    item = json.loads(members(bundle)["manifest.json"])["files"][name]
    sentence = (
        rf"^expected {item['size']} bytes of the hash {item['sha256'][:12]}\.\.\. in '{name}' of b\.zip, as its "
        r"manifest says, found 14 of [0-9a-f]{12}\.\.\.: fetch it again, or make it again with avbench submit$"
    )
    with pytest.raises(AvbenchError, match=sentence), opened(bundle):
        pass


def test_files_that_the_manifest_does_not_list_and_listed_ones_that_are_missing(
    tmp_path, bundle_of_disc, members, rewritten
):
    name = next(name for name in members(bundle_of_disc) if name.endswith("timing.json"))
    bundle = rewritten(bundle_of_disc, tmp_path / "b.zip", lambda found: found.pop(name), honest=False)
    refused(bundle, f"b.zip lacks '{name}' that its manifest lists: make it again with avbench submit")
    bundle = rewritten(bundle_of_disc, tmp_path / "b.zip", lambda found: found.update({TRUTH: b"x"}), honest=False)
    refused(bundle, f"b.zip holds '{TRUTH}' that its manifest does not list: make it again with avbench submit")


def test_more_bytes_than_allowed_are_counted_as_they_are_read(tmp_path, bundle_of_disc, members, rewritten):
    name = next(name for name in members(bundle_of_disc) if name.endswith(".safetensors"))
    bundle = rewritten(bundle_of_disc, tmp_path / "b.zip", lambda found: found.update({name: bytes(3_000_000)}))
    sentence = "b.zip unpacks to more than the 2 MB that are allowed: hand in fewer methods a bundle, or raise --limit"
    packed = tmp_path / "packed.zip"
    with ZipFile(bundle) as source, ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        for member in source.namelist():
            archive.writestr(member, source.read(member))
    assert packed.stat().st_size < 300_000
    refused(packed, sentence.replace("b.zip", "packed.zip"), limit=2)
    with opened(packed, limit=4):
        pass


def test_a_header_that_lies_about_the_size_gains_nothing(tmp_path, bundle_of_disc, members, rewritten):
    name = next(name for name in members(bundle_of_disc) if name.endswith(".safetensors"))
    bundle = tmp_path / "b.zip"
    rewritten(bundle_of_disc, bundle, lambda found: found.update({name: bytes(3_000_000)}))
    content = bytearray(bundle.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
    struct.pack_into("<L", content, entry + 24, 10)  # the unpacked size that the directory states
    bundle.write_bytes(content)
    sentence = (
        f"b.zip is no zip, or damaged (Bad CRC-32 for file '{name}'): fetch it again, or make it again with avbench "
        "submit"
    )
    refused(bundle, sentence)


def test_text_without_end(tmp_path, bundle_of_disc, members, rewritten, monkeypatch):
    monkeypatch.setattr(unbundling, "TEXT", 1)
    name = next(name for name in members(bundle_of_disc) if name.endswith("timing.json"))
    bundle = rewritten(bundle_of_disc, tmp_path / "b.zip", lambda found: found.update({name: b" " * 1_000_001}))
    refused(bundle, f"'{name}' of b.zip has more than the 1 MB that JSON may have: make it again with avbench submit")


def test_too_many_files(tmp_path, bundle_of_disc, monkeypatch):
    monkeypatch.setattr(unbundling, "MOST_FILES", 3)
    count = len(ZipFile(bundle_of_disc).namelist())
    refused(
        bundle_of_disc,
        f"disc.zip holds {count} files, more than the 3 that are allowed: make it again with avbench submit",
    )


@pytest.mark.parametrize("trick", ["larger", "zip64"])
def test_a_directory_that_would_fill_the_memory(tmp_path, bundle_of_disc, trick):
    content = bytearray(bundle_of_disc.read_bytes())
    if trick == "larger":
        struct.pack_into("<L", content, len(content) - 22 + 12, 2_000_000_000)
    else:
        content[-22:-22] = b"PK\x06\x07" + bytes(16)
    (tmp_path / "b.zip").write_bytes(content)
    sentence = "b.zip has a directory larger than any bundle of 20000 files needs: make it again with avbench submit"
    refused(tmp_path / "b.zip", sentence)


def entry_with(**values):
    return lambda manifest: manifest["entries"][0].update(values)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda manifest: manifest.update(format=2),
            "b.zip has the format 2, newer than the 1 that this avbench reads: update avbench",
        ),
        (
            lambda manifest: manifest.update(format="1"),
            "expected an object of format 1 in the manifest of b.zip, found something else: make it again with avbench "
            "submit",
        ),
        (
            lambda manifest: [manifest.pop("by"), manifest.update(more=1)],
            "the manifest of b.zip lacks by and has the unknown more: make it again with avbench submit",
        ),
        (
            lambda manifest: manifest.update(note=3),
            "expected a text under 'note' in the manifest of b.zip, found something else: make it again with avbench "
            "submit",
        ),
        (
            lambda manifest: manifest["entries"][0].pop("key"),
            "an entry of the manifest of b.zip lacks key: make it again with avbench submit",
        ),
        (
            entry_with(method="../x"),
            "expected a plain word under 'method' of an entry in the manifest of b.zip, found something else: make it "
            "again with avbench submit",
        ),
        (
            entry_with(audio={"true": "0" * 64}),
            "expected hashes by kind of audio under 'audio' of an entry, that of its own among them in the manifest of "
            "b.zip, found something else: make it again with avbench submit",
        ),
        (
            lambda manifest: manifest["files"].update({"x": {"size": -1, "sha256": "0" * 64}}),
            "expected the size and sha256 of 'x' in the manifest of b.zip, found something else: make it again with "
            "avbench submit",
        ),
    ],
)
def test_manifests_of_another_form(tmp_path, bundle_of_disc, members, change, sentence):
    found = members(bundle_of_disc)
    manifest = json.loads(found.pop("manifest.json"))
    change(manifest)
    with ZipFile(tmp_path / "b.zip", "w") as archive:
        for name, content in {"manifest.json": json.dumps(manifest), **found}.items():
            archive.writestr(name, content)
    refused(tmp_path / "b.zip", sentence)


@pytest.mark.parametrize("content", ["{", "[" * 200_000])
def test_a_manifest_that_is_no_json(tmp_path, content):
    with ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("manifest.json", content)
    sentence = "expected JSON in manifest.json of b.zip, which cannot be read so: make it again with avbench submit"
    refused(tmp_path / "b.zip", sentence)


def test_no_manifest(tmp_path):
    with ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(TRUTH, "x")
    refused(tmp_path / "b.zip", "expected manifest.json in b.zip, found none: make it again with avbench submit")
