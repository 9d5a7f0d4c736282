"""A server of buckets for tests: folders of this machine behind Google's API.

It knows as much of the JSON API of Cloud Storage as reading takes: what is known
of a bucket or an object, lists, and contents with ranges.
"""
from collections.abc import Iterator
import contextlib
import http.server
import json
import pathlib
import re
import threading
import urllib.parse

_OBJECT = re.compile(r'(?:/download)?/storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?$')


@contextlib.contextmanager
def served(root: pathlib.Path, locked: tuple[str, ...] = (),
           ) -> Iterator['Server']:
  """A server whose buckets are the folders of `root`.

  Args:
    root: a folder.
    locked: buckets that nobody may read.
  """
  server = Server(root, locked)
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield server
  finally:
    server.shutdown()
    server.server_close()
    thread.join()


class Server(http.server.ThreadingHTTPServer):
  """Buckets behind an address of this machine.

  Attributes:
    environment: what a process needs to take it for Google's.
    read: (name of the object, the Range that was asked for) of contents.
  """

  daemon_threads = True
  request_queue_size = 128  # Records are asked for many at a time.

  def __init__(self, root: pathlib.Path, locked: tuple[str, ...]):
    super().__init__(('127.0.0.1', 0), _Handler)
    self.root, self.locked, self.read = root, locked, []
    address = f'http://127.0.0.1:{self.server_port}'
    self.environment = {'STORAGE_EMULATOR_HOST': address,
                        'CLOUD_STORAGE_EMULATOR_ENDPOINT': address}


class _Handler(http.server.BaseHTTPRequestHandler):
  """Answers one connection."""

  protocol_version = 'HTTP/1.1'
  server: Server

  def do_GET(self):
    address = urllib.parse.urlsplit(self.path)
    query = dict(urllib.parse.parse_qsl(address.query))
    match = _OBJECT.match(address.path)
    bucket, name = ((match[1], match[2]) if match else
                    address.path[1:].partition('/')[::2])
    media = not match or query.get('alt') == 'media'
    name = urllib.parse.unquote(name or '')
    folder = self.server.root / bucket
    if bucket in self.server.locked:
      self._refuse(403, f'No access to {bucket}.')
    elif not folder.is_dir():
      self._refuse(404, f'No bucket {bucket}.')
    elif name:
      self._object(folder, name, media)
    elif match and address.path.endswith('/o'):
      self._json(_listed(folder, query.get('prefix', ''),
                         query.get('delimiter', '')))
    else:
      self._json({'kind': 'storage#bucket', 'name': bucket, 'id': bucket})

  def _object(self, folder, name, media):
    path = folder / name
    if not path.is_file():
      self._refuse(404, f'No object {name}.')
    elif media:
      self._content(path, name)
    else:
      self._json(_about(folder, path))

  def _content(self, path, name):
    self.server.read.append((name, self.headers.get('Range', '')))
    content = path.read_bytes()
    size, first, end = len(content), 0, len(content)
    asked = re.match(r'bytes=(\d*)-(\d*)$', self.headers.get('Range', ''))
    if asked and asked[1]:
      first = int(asked[1])
      end = min(size, int(asked[2]) + 1) if asked[2] else size
    elif asked and asked[2]:
      first = max(0, size - int(asked[2]))
    if first >= size > 0:
      self._refuse(416, 'Behind the end.')
      return
    self.send_response(206 if asked else 200)
    if asked:
      self.send_header('Content-Range', f'bytes {first}-{end - 1}/{size}')
    self.send_header('x-goog-generation', '1')
    self._send(content[first:end], 'application/octet-stream')

  def _refuse(self, code, why):
    self.send_response(code)
    self._send(json.dumps({'error': {'code': code, 'message': why, 'errors': [
        {'message': why}]}}).encode(), 'application/json')

  def _json(self, value):
    self.send_response(200)
    self._send(json.dumps(value).encode(), 'application/json')

  def _send(self, body, kind):
    self.send_header('Content-Type', kind)
    self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    try:
      self.wfile.write(body)
    except ConnectionError:  # Readers ask for all to the end, and take a part.
      self.close_connection = True

  def handle_one_request(self):
    try:
      super().handle_one_request()
    except ConnectionError:
      self.close_connection = True

  def log_message(self, *args):
    pass  # Nothing on the screen for each request.


def _listed(folder, prefix, delimiter):
  """What a list of a bucket says."""
  items, prefixes = [], set()
  for path in sorted(p for p in folder.rglob('*') if p.is_file()):
    name = path.relative_to(folder).as_posix()
    if not name.startswith(prefix):
      continue
    more = name[len(prefix):]
    if delimiter and delimiter in more:
      prefixes.add(prefix + more[:more.index(delimiter) + 1])
    else:
      items.append(_about(folder, path))
  return {'kind': 'storage#objects', 'items': items,
          'prefixes': sorted(prefixes)}


def _about(folder, path):
  """What is known of an object."""
  name = path.relative_to(folder).as_posix()
  return {'kind': 'storage#object', 'bucket': folder.name, 'name': name,
          'id': f'{folder.name}/{name}', 'size': str(path.stat().st_size),
          'generation': '1', 'metageneration': '1',
          'contentType': 'application/octet-stream',
          'timeCreated': '2020-01-01T00:00:00.000Z',
          'updated': '2020-01-01T00:00:00.000Z'}
