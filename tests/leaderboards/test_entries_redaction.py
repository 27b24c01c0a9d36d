"""Commands without the folders of the machine that they were typed on."""

import pytest

from avbench.redacting import ABSOLUTE, redacted


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("avbench run --method jsa --set lr=1e-3", "avbench run --method jsa --set lr=1e-3"),
        ("avbench run --data /home/ada/media", "avbench run --data media"),
        ("avbench run --data=/home/ada/media/", "avbench run --data=media"),
        ("avbench run --checkpoint jsa=../weights/jsa.pt", "avbench run --checkpoint jsa=jsa.pt"),
        ("avbench run --set jsa.pretrained=~/w/r18.pth", "avbench run --set jsa.pretrained=r18.pth"),
        ("avbench run --method results/my.py:Mine", "avbench run --method my.py:Mine"),
        ("avbench run --split sets/a.yaml,sets/b.yaml", "avbench run --split a.yaml,b.yaml"),
        ("avbench run --data '/home/ada lovelace/my media'", "avbench run --data 'my media'"),
        (r"avbench run --data 'C:\Users\ada\media'", "avbench run --data media"),
        ("avbench run --data /mnt/a=b/media", "avbench run --data media"),
        ("avbench run --data ~ada", "avbench run --data '~'"),
        ("avbench run --data /", "avbench run --data ."),
        ("avbench run --data /home/ada's", "avbench run --data 'ada'\"'\"'s'"),
        ("avbench  run   --method 'jsa'", "avbench  run   --method 'jsa'"),
        ("", ""),
    ],
)
def test_a_path_keeps_its_last_component(command, expected):
    assert redacted(command) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize("text", ["/home/ada/x", "--data=/mnt", "see /root/x", "~/x", "D:/x", r"C:\x", "a,/b"])
def test_an_absolute_path_is_found(text):
    assert ABSOLUTE.search(text)


@pytest.mark.parametrize("text", ["https://a.org/b", "owner/repo test.py", "1 / 2", "and/or", "a/b:c", "~1", "x: y"])
def test_what_is_no_absolute_path(text):
    assert not ABSOLUTE.search(text)
