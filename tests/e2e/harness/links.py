"""Peer links a test can cut: one TCP proxy for each directed link.

Each node is given its own view of its peers' addresses, so the connection it opens to a peer goes
through a proxy of that link alone. All proxies run on one asyncio loop in one thread.
"""

import asyncio
import socket
import threading

_CHUNK_BYTES = 64 * 1024


class Link:
    """One proxy. Its methods may be called from any thread; the rest runs on the loop's thread."""

    def __init__(self, network, name, target_port):
        self.name = name
        self._network = network
        self._target_port = target_port
        # Listening at once, so that the port is ours from the start.
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._server = None
        self._open = asyncio.Event()
        self._open.set()
        self._refuse = False
        self._writers = set()
        self._tasks = set()

    async def start(self):
        self._server = await asyncio.start_server(self._accept, sock=self._socket)

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self._refuse:
                return
            await self._open.wait()  # a SYN into a cut link gets no answer either
            try:
                to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            except OSError:
                return
            self._writers.add(to_writer)
            try:
                await asyncio.gather(
                    self._pump(reader, to_writer), self._pump(to_reader, writer))
            finally:
                self._discard(to_writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._discard(writer)
            self._tasks.discard(task)

    def _discard(self, writer):
        self._writers.discard(writer)
        writer.transport.abort()

    async def _pump(self, reader, writer):
        while True:
            data = await reader.read(_CHUNK_BYTES)
            # Bytes that were on their way when the link was cut arrive after it heals, as a
            # retransmission would.
            await self._open.wait()
            if not data:
                # One side is gone: so is the connection. (Half-closed ones are of no use here.)
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()

    async def _set(self, is_open, refuse):
        self._refuse = refuse
        if refuse:
            for writer in list(self._writers):
                writer.transport.abort()
        if is_open:
            self._open.set()
        else:
            self._open.clear()

    def cut(self, mode="stall"):
        """Stops the link. "stall": connections stay, nothing arrives, as with a pulled cable.
        "reset": connections break and new ones are closed at once, as with a firewall's RST."""
        assert mode in ("stall", "reset"), mode
        self._network.run(self._set(False, mode == "reset"))

    def heal(self):
        self._network.run(self._set(True, False))

    async def stop(self):
        self._server.close()
        self._open.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Network:
    """The links of one cluster, by (from, to)."""

    def __init__(self):
        self.links = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    def add(self, source, target, target_port):
        """Adds the link over which `source` calls `target`; returns the port to call."""
        link = Link(self, f"{source}->{target}", target_port)
        self.run(link.start())
        self.links[source, target] = link
        return link.port

    def isolate(self, names, mode="stall"):
        """Cuts every link between `names` and the rest, both ways."""
        names = set(names)
        for (source, target), link in self.links.items():
            if (source in names) != (target in names):
                link.cut(mode)

    def heal(self):
        for link in self.links.values():
            link.heal()

    def close(self):
        for link in self.links.values():
            self.run(link.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()
