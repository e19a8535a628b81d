"""Logs as the server would hold them: honest programs delivered through the gate, so each delta is new and closed."""

from crdt.gate import check
from crdt.index import Index
from crdt.records import Limits
from crdt.update import encode_state_vector
from tests.crdt.honest import STEPS, Client


def log_of(steps: list[tuple[int, int, int, int]]) -> list[bytes]:
    """Three clients edit, learn from each other and are heard by the server now and then, all of them at the end."""
    clients = [Client(11), Client(22), Client(33)]
    index = Index()
    log: list[bytes] = []
    for who, action, at, word in steps:
        if action < 8:
            clients[who].edit(action, at, word)
        else:
            clients[who].learn(clients[(who + 1) % 3])
        if word % 3:
            deliver(clients[who], index, log)
    for client in clients:
        deliver(client, index, log)
    return log


def deliver(client: Client, index: Index, log: list[bytes]) -> None:
    """Send the server what it lacks of a client's document."""
    update = client.doc.get_update(encode_state_vector(index.state_vector))
    verdict = check(index, update, "ana", Limits())
    assert not verdict.gap
    if verdict.update:
        log.append(verdict.update)


LOGS = STEPS.map(log_of)
