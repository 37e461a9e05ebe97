"""One JSON command per line in, one JSON event per line out; the end of the input is the end of the program."""
import asyncio, ctypes, json, os, signal, sys


def say(event, **fields):
    try:
        print(json.dumps({"event": event, **fields}, ensure_ascii=False), flush=True)
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more


def die_with_parent():
    """For `preexec_fn`: a child that ends when we are killed (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


async def follow(commands):
    """Runs `commands.<cmd>(**rest)` for each line; `done` or `error` says how it went."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        name = command.pop("cmd", "")
        asyncio.ensure_future(attempt(commands, name, {key: value for key, value in command.items() if value is not None}))
        await asyncio.sleep(0)


async def attempt(commands, name, arguments):
    try:
        run = None if name.startswith("_") else getattr(commands, name, None)
        if run is None:
            raise ValueError("no such command")
        done = run(**arguments)
        if asyncio.iscoroutine(done):
            await done
        say("done", cmd=name)
    except Exception as error:
        say("error", cmd=name, text=f"{type(error).__name__}: {error}")
