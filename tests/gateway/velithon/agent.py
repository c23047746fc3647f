"""A stub of a Consul agent, by the documentation of its HTTP API: `agent.py PORT [TOKEN]`. There is no Consul to be had
here. It answers:

    PUT /v1/agent/service/register      checks the members that the API knows, refuses others as strict decoders do
    PUT /v1/agent/service/deregister/ID
    GET /v1/agent/service/ID            404 "unknown service ID"
    GET /v1/agent/services
    PUT /v1/agent/check/pass/ID         404 'Unknown check ID "…"'
    GET /v1/agent/self
    GET /v1/catalog/service/NAME        Address is the node's, as the catalog has it
    GET /v1/health/state/any
    PUT /stub/forget                    as an agent that was started anew without its data
    GET /stub/log                       what was asked, a line each
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

NODE, NODE_ADDRESS = 'stub', '127.0.0.1'
KNOWN = {'ID', 'Name', 'Tags', 'Address', 'TaggedAddresses', 'Meta', 'Port', 'Kind', 'Check', 'Checks', 'EnableTagOverride',
         'Weights'}
KNOWN_OF_CHECK = {'CheckID', 'Name', 'Status', 'Notes', 'TTL', 'TCP', 'HTTP', 'Interval', 'Timeout',
                  'DeregisterCriticalServiceAfter'}
services, checks, log = {}, {}, []


def seconds(duration):
    for unit, factor in (('ms', 0.001), ('s', 1), ('m', 60), ('h', 3600)):
        if duration.endswith(unit) and duration[:-len(unit)].isdigit():
            return int(duration[:-len(unit)]) * factor
    raise ValueError(f'invalid duration {duration}')


def status_of(check):
    is_late = check['ttl'] is not None and time.monotonic() - check['heard'] > check['ttl']
    return 'critical' if is_late else check['status']


class Agent(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def answer(self, status, body=b''):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header('content-length', str(len(body)))
        # python-consul wants it of the catalog.
        self.send_header('X-Consul-Index', '7')
        self.end_headers()
        self.wfile.write(body)

    def asked(self):
        length = int(self.headers.get('content-length', 0))
        body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        if not path.startswith('/stub'):
            log.append(f'{self.command} {path}')
        token = sys.argv[2] if len(sys.argv) > 2 else None
        if token and path.startswith('/v1/agent') and self.headers.get('X-Consul-Token') != token:
            self.answer(403, b'Permission denied: token with AccessorID anonymous lacks permission service:write')
            return None, None
        return path, body

    def do_PUT(self):
        path, body = self.asked()
        if path is None:
            return
        if path == '/stub/forget':
            services.clear()
            checks.clear()
            return self.answer(200)
        if path == '/v1/agent/service/register':
            return self.register(body)
        kind, _, name = path.rpartition('/')
        if kind == '/v1/agent/service/deregister':
            if name not in services:
                return self.answer(404, f'Unknown service ID "{name}". Ensure that the service ID is passed, not the '
                                        'service name.'.encode())
            del services[name]
            checks.pop(f'service:{name}', None)
            return self.answer(200)
        if kind == '/v1/agent/check/pass':
            if name not in checks:
                return self.answer(404, f'Unknown check ID "{name}". Ensure that the check ID is passed, not the check '
                                        'name.'.encode())
            if checks[name]['ttl'] is None:
                return self.answer(500, f'CheckID "{name}" does not have associated TTL'.encode())
            checks[name].update(status='passing', heard=time.monotonic())
            return self.answer(200)
        self.answer(404)

    def register(self, body):
        try:
            service = json.loads(body)
            unknown = set(service) - KNOWN | set(service.get('Check', {})) - KNOWN_OF_CHECK
            if unknown:
                raise ValueError(f'unknown members {unknown}')
            if not service.get('Name'):
                raise ValueError('Missing service name')
            check = service.get('Check')
            name = service.get('ID') or service['Name']
            service['ID'] = name
            if not all(isinstance(tag, str) for tag in service.get('Tags', [])):
                raise ValueError('tags are texts')
            services[name] = service
            if check:
                if sum(kind in check for kind in ('TTL', 'TCP', 'HTTP')) != 1:
                    raise ValueError('a check is of one kind')
                if 'TTL' not in check:
                    seconds(check['Interval'])
                if seconds(check.get('DeregisterCriticalServiceAfter', '60s')) < 60:
                    raise ValueError('minimum deregister timeout is 1 minute')
                ttl = seconds(check['TTL']) if 'TTL' in check else None
                checks[f'service:{name}'] = {'status': check.get('Status', 'critical'), 'ttl': ttl,
                                             'heard': time.monotonic()}
        except (ValueError, KeyError) as error:
            return self.answer(400, f'Invalid Service definition: {error}'.encode())
        self.answer(200)

    def do_GET(self):
        path, _ = self.asked()
        if path is None:
            return
        if path == '/stub/log':
            return self.answer(200, log)
        if path == '/v1/agent/self':
            return self.answer(200, {'Config': {'NodeName': NODE}, 'Member': {'Name': NODE, 'Addr': NODE_ADDRESS}})
        if path == '/v1/agent/services':
            return self.answer(200, {name: self.shown(one) for name, one in services.items()})
        if path == '/v1/health/state/any':
            return self.answer(200, [{'CheckID': name, 'Status': status_of(one)} for name, one in checks.items()])
        kind, _, name = path.rpartition('/')
        if kind == '/v1/agent/service':
            if name not in services:
                return self.answer(404, f'unknown service ID: {name}'.encode())
            return self.answer(200, self.shown(services[name]))
        if kind == '/v1/catalog/service':
            found = [one for one in services.values() if one['Name'] == name]
            return self.answer(200, [{
                'Node': NODE, 'Address': NODE_ADDRESS, 'ServiceID': one['ID'], 'ServiceName': name,
                'ServiceAddress': one.get('Address', ''), 'ServicePort': one.get('Port', 0),
                'ServiceTags': one.get('Tags', []), 'ServiceMeta': one.get('Meta', {}),
                'ServiceWeights': one.get('Weights', {'Passing': 1, 'Warning': 1}),
            } for one in found])
        self.answer(404)

    @staticmethod
    def shown(service):
        return {'ID': service['ID'], 'Service': service['Name'], 'Tags': service.get('Tags', []),
                'Address': service.get('Address', ''), 'Port': service.get('Port', 0)}


ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Agent).serve_forever()
