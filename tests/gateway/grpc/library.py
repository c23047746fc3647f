"""A server of gRPC with reflection, by the C core: `acme.Library` of `library.proto`.

Called with the folder of the schema and the port to listen at, 0 for any. Prints the port, and serves until its
standard input ends.
"""

import sys
from concurrent import futures

import grpc
from grpc_reflection.v1alpha import reflection

FOLDER, PORT = sys.argv[1:]
sys.path.insert(0, FOLDER)
library_pb2, library_grpc = grpc.protos_and_services("library.proto")


class Library(library_grpc.LibraryServicer):
    def GetBook(self, request, context):
        if request.name.endswith("/missing"):
            context.abort(grpc.StatusCode.NOT_FOUND, "no such book")
        return library_pb2.Book(name=request.name, title="T", copies=7)

    def CreateBook(self, request, context):
        name = f"{request.parent}/books/new"
        return library_pb2.Book(name=name, title=request.book.title, copies=request.book.copies)

    def ListBooks(self, request, context):
        for number in range(request.page_size):
            yield library_pb2.Book(name=f"{request.parent}/books/{number}")

    def Copy(self, requests, context):
        for request in requests:
            yield request


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
library_grpc.add_LibraryServicer_to_server(Library(), server)
services = [library_pb2.DESCRIPTOR.services_by_name["Library"].full_name, reflection.SERVICE_NAME]
reflection.enable_server_reflection(services, server)
print(server.add_insecure_port(f"127.0.0.1:{PORT}"), flush=True)
server.start()
sys.stdin.read()
server.stop(None).wait()
