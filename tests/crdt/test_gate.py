"""The gate's verdicts, one behaviour a test. Byte layouts: Yjs v1, see `crdt/parser.py`."""

import pytest

from crdt.errors import CLIENT_ID, MALFORMED, SCHEMA, TOO_LARGE, UNSUPPORTED, Refused
from crdt.gate import check, fold, index_of
from crdt.index import Index
from crdt.parser import is_quick
from crdt.records import Limits
from crdt.update import merge
from tests.crdt.honest import Client, loaded

LIMITS = Limits()

TYPED_A = "0101 07 00 04 01 01 74 01 61 00"  # client 7 types "a" into root "t"
TYPED_B = "0101 07 01 84 07 00 01 62 00"  # then "b" behind it
TYPED_C = "0101 07 02 84 07 01 01 63 00"


def raw(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


def index_with(*updates: str, actor: str = "ana") -> Index:
    index = Index()
    for update in updates:
        verdict = check(index, raw(update), actor, LIMITS)
        assert verdict.update == raw(update)
        assert not verdict.gap
    return index


def refused(index: Index, update: bytes, actor: str = "ana", limits: Limits = LIMITS) -> str:
    """The reason, after making sure that the index did not notice."""
    before = index.encode()
    with pytest.raises(Refused) as refusal:
        check(index, update, actor, limits)
    assert index.encode() == before
    return refusal.value.reason


def test_what_is_new_passes_byte_for_byte() -> None:
    index = index_with(TYPED_A, TYPED_B, TYPED_C)
    assert index.state_vector == {7: 3}


def test_what_is_known_is_nothing_new() -> None:
    index = index_with(TYPED_A, TYPED_B)
    verdict = check(index, raw(TYPED_B), "ana", LIMITS)
    assert verdict.update == b""
    assert not verdict.gap


def test_half_known_struct_is_cut_at_the_known_clock() -> None:
    index = index_with(TYPED_A)
    verdict = check(index, raw("0101 07 00 04 01 01 74 03 61 62 63 00"), "ana", LIMITS)
    assert verdict.update == raw("0101 07 01 84 07 00 02 62 63 00")
    assert str(loaded(merge([raw(TYPED_A), verdict.update])).get("t", type=__import__("pycrdt").Text)) == "abc"


def test_a_resent_delete_set_shrinks_to_what_is_new_in_it() -> None:
    index = index_with("0101 07 00 04 01 01 74 05 61 62 63 64 65 00")
    first = check(index, raw("00 01 07 01 00 02"), "ana", LIMITS)
    assert first.update == raw("00 01 07 01 00 02")
    second = check(index, raw("00 01 07 01 00 04"), "ana", LIMITS)
    assert second.update == raw("00 01 07 01 02 02")


def test_a_missing_predecessor_is_a_gap_and_leaves_nothing_behind() -> None:
    index = index_with(TYPED_A)
    before = index.encode()
    verdict = check(index, raw(TYPED_C), "ana", LIMITS)
    assert verdict.gap
    assert verdict.update == b""
    assert index.encode() == before


def test_the_closed_part_of_a_gapped_update_is_kept() -> None:
    index = index_with(TYPED_A)
    gapped = merge([raw(TYPED_B), raw("0101 09 05 84 07 00 01 7a 00")])  # client 9's clocks 0–4 are missing
    verdict = check(index, gapped, "ana", LIMITS)
    assert verdict.gap
    assert verdict.update == raw(TYPED_B)


def test_deleting_what_nobody_sent_yet_is_a_gap() -> None:
    index = index_with(TYPED_A)
    verdict = check(index, raw("00 01 07 01 00 03"), "ana", LIMITS)
    assert verdict.gap
    assert verdict.update == raw("00 01 07 01 00 01")


def test_sections_may_come_in_any_order() -> None:
    """Client 9 hangs on client 7's struct, which stands later in the same update."""
    index = Index()
    update = raw("02 01 09 00 84 07 00 01 7a 01 07 00 04 01 01 74 01 61 00")
    assert check(index, update, "ana", LIMITS).update == update


def test_structs_that_wait_for_each_other_are_refused() -> None:
    assert refused(Index(), raw("02 01 09 00 84 07 00 01 7a 01 07 00 84 09 00 01 61 00")) == SCHEMA


def test_a_struct_that_refers_to_itself_is_refused() -> None:
    assert refused(index_with(TYPED_A), raw("0101 07 01 84 07 01 01 62 00")) == SCHEMA


def test_client_ids_belong_to_the_user_who_first_wrote_with_them() -> None:
    index = index_with(TYPED_A, actor="ana")
    assert refused(index, raw(TYPED_B), actor="bob") == CLIENT_ID
    assert check(index, raw(TYPED_B), "ana", LIMITS).update


def test_relaying_what_is_known_of_somebody_else_is_no_offence() -> None:
    index = index_with(TYPED_A, actor="ana")
    assert check(index, raw(TYPED_A), "bob", LIMITS).update == b""


def test_an_unused_client_id_may_not_be_squatted_by_garbage_of_others() -> None:
    index = index_with(TYPED_A, actor="ana")
    assert refused(index, raw("0101 07 01 00 e807 00"), actor="bob") == CLIENT_ID


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        ("0101 07 00 22 01 01 6d 01 6b 01 03 227822 00", UNSUPPORTED),  # ContentJSON
        ("0101 07 00 09 01 01 74 01 78 01 76 00 00", UNSUPPORTED),  # a sub-document
        ("0101 07 00 07 01 01 74 07 00", UNSUPPORTED),  # a weak link
        ("0101 07 00 04 01 01 74 01 61 00 00", MALFORMED),  # trailing byte
        ("0101 07 00 04 01 01 74 00 00", MALFORMED),  # empty string
        ("0101 07 00 05 01 01 74 01 7b 00", MALFORMED),  # an embed that is not JSON
        ("0101 07 00 05 01 01 74 08 225c756438303022 00", MALFORMED),  # "\ud800": serde cannot load it again
        ("0101 07 00 05 01 01 74 05 3165393939 00", MALFORMED),  # 1e999
        ("0101 07 00 01 01 01 74 8080808008 00", MALFORMED),  # clocks beyond 31 bits
        ("0101 07 00 40 07 05 01 61 00", MALFORMED),
    ],
)
def test_unsound_updates_are_refused_with_their_reason(update: str, reason: str) -> None:
    assert refused(Index(), raw(update)) == reason


@pytest.mark.parametrize(
    "update",
    [
        "0101 07 01 28 01 01 74 01 6b 01 77 01 78 00",  # an entry beside the text is fine
        "0101 07 01 87 07 00 01 00",  # a shared type inside a text, as rich-text editors do
        "0101 07 01 85 07 00 02 7b7d 00",
        "0101 07 01 86 07 00 01 62 04 74727565 00",
    ],
)
def test_odd_but_honest_content_of_a_text_is_accepted(update: str) -> None:
    assert check(index_with(TYPED_A), raw(update), "ana", LIMITS).update == raw(update)


@pytest.mark.parametrize(
    "update",
    [
        "0101 07 01 88 07 00 01 77 01 78 00",  # a list entry in a text
        "0101 07 01 24 01 01 74 01 6b 01 78 00",  # a string as a map entry
        "0101 07 01 04 00 07 00 01 62 00",  # a character as parent
    ],
)
def test_content_in_the_wrong_parent_is_refused_and_forgotten(update: str) -> None:
    assert refused(index_with(TYPED_A), raw(update)) == SCHEMA


def test_types_nest_up_to_the_limit() -> None:
    limits = Limits(max_depth=64)
    index = Index()
    assert check(index, raw("0101 07 00 27 01 01 6d 01 6b 01 00"), "ana", limits).update
    for clock in range(1, 64):
        update = raw(f"0101 07 {clock:02x} 27 00 07 {clock - 1:02x} 01 6b 01 00")
        assert check(index, update, "ana", limits).update == update
    assert refused(index, raw("0101 07 40 27 00 07 3f 01 6b 01 00"), limits=limits) == TOO_LARGE


def test_bounds_are_refused_as_too_large() -> None:
    assert refused(Index(), raw(TYPED_A), limits=Limits(max_update_bytes=5)) == TOO_LARGE
    assert refused(Index(), raw("02 01 09 00 84 07 00 01 7a" + TYPED_A[2:]), limits=Limits(max_new_clients=1)) == (
        TOO_LARGE
    )
    nested = b"\x75\x01" * 65 + b"\x7e"
    assert refused(Index(), raw("0101 07 00 28 01 01 6d 01 6b 01") + nested + b"\x00") == TOO_LARGE


@pytest.mark.parametrize(
    ("update", "items"),
    [
        (TYPED_A, 2),  # a section and a struct
        ("0101 07 00 08 01 01 74 03 7f 75027f7f 7f 00", 7),  # an array of three values, one of them an array of two
        ("0101 07 00 08 01 01 74 01 76 01 01 61 7f 00", 4),  # an object with a value
        ("00 01 07 02 0001 0201", 3),  # two ranges of a client
    ],
)
def test_what_an_update_takes_to_check_is_what_it_counts(update: str, items: int) -> None:
    assert is_quick(raw(update), LIMITS, items)
    assert not is_quick(raw(update), LIMITS, items - 1)


def test_a_count_that_is_too_much_ends_the_reading_and_what_is_not_sound_is_quick_to_refuse() -> None:
    assert not is_quick(raw("01 ce08 07 00") + b"\x1f" * 3_000, LIMITS, 1_000)  # 1,102 structs, none of them sound
    assert is_quick(raw("01 01 07 00 1f"), LIMITS, 1_000)
    assert is_quick(raw("0101 07 00 04 01 01 74") + b"\xd0\x86\x03" + b"x" * 50_000 + b"\0", LIMITS, 2)


def test_a_late_edit_inside_a_deleted_and_compacted_type_is_accepted() -> None:
    """A week offline inside a comment that was deleted meanwhile: the edit becomes garbage, as in Yjs."""
    author, offline = Client(1), Client(2)
    author.edit(7, 0, 0)
    offline.learn(author)
    offline.edit(7, 0, 1)
    del author.comments["c0"]
    index = index_of(author.doc.get_update(), {1: "ana"})
    verdict = check(index, offline.made[-1], "bob", LIMITS)
    assert verdict.update == offline.made[-1]
    assert not verdict.gap
    author.doc.apply_update(verdict.update)
    assert author.shown()["comments"] == {}


def test_cutting_a_surrogate_pair_is_accepted_and_noted() -> None:
    index = Index()
    check(index, raw("0101 07 00 04 01 01 74 06 78 f09f9880 79 00"), "ana", LIMITS)  # x😀y
    verdict = check(index, raw("0101 09 00 c4 07 01 07 02 01 61 00"), "bob", LIMITS)
    assert verdict.update
    assert index.cuts == {(7, 1)}
    assert Index.decode(index.encode()).cuts == {(7, 1)}


def test_deleting_half_a_surrogate_pair_is_noted() -> None:
    index = index_with("0101 07 00 04 01 01 74 06 78 f09f9880 79 00")
    check(index, raw("00 01 07 01 02 01"), "ana", LIMITS)
    assert index.cuts == {(7, 1)}


def test_a_refusal_takes_back_even_a_noted_cut() -> None:
    index = index_with("0101 07 00 04 01 01 74 06 78 f09f9880 79 00")
    assert refused(index, raw("0102 07 04 c4 07 01 07 02 01 61 88 07 04 01 77 01 78 00")) == SCHEMA
    assert index.cuts == set()


def test_folding_questions_neither_owner_nor_size() -> None:
    index = Index()
    fold(index, raw(TYPED_A), "ana")
    assert not fold(index, raw(TYPED_B), "bob").gap
    assert index.owners == {7: "ana"}
    assert fold(index, raw("0101 07 09 84 07 01 01 63 00"), "ana").gap


def test_the_short_path_and_the_parser_agree_on_the_index() -> None:
    quick, slow = index_with(TYPED_A), index_with(TYPED_A)
    check(quick, raw(TYPED_B), "ana", LIMITS)
    fold(slow, merge([raw(TYPED_A), raw(TYPED_B)]), "ana")
    assert quick.encode() == slow.encode()
