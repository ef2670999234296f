/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * volume FILE: the C++ interface: everything ends with its scope. The file must exist:
 * truncate -s 64M FILE
 */
#include <cstring>
#include <iostream>

#include <xbdev/xbdev.hpp>

/* Plain: each operation says whether it succeeded. */
static bool Greet(const std::string &path)
{
	xbdev::Volume volume(path);
	xbdev::Buffer buffer(4096);

	std::strcpy(buffer.As<char>(), "hello");
	return volume.Write(buffer.Data(), buffer.Size(), 0) && volume.Flush() &&
	       volume.Read(buffer.Data(), buffer.Size(), 0);
}

/* With requests; errors are exceptions. */
static unsigned CountZeroBlocks(const std::string &path, unsigned nr_blocks)
{
	xbdev::Device device(path, XBDEV_OPEN_READ);
	xbdev::Buffer buffer(4096);
	xbdev::Request request;
	unsigned next = 0, nr_zero = 0;

	request.Read(device, buffer.Data(), buffer.Size(), 0);
	request.Then([&](xbdev::Request &self, int result) {
		const char *bytes = buffer.As<char>();

		if (result < 0) {
			return;
		}
		nr_zero += bytes[0] == 0 && std::memcmp(bytes, bytes + 1, buffer.Size() - 1) == 0;
		if (++next < nr_blocks) {
			self.Read(device, buffer.Data(), buffer.Size(),
				static_cast<std::uint64_t>(next) * buffer.Size());
			self.Submit();
		}
	});
	request.Submit();
	while (request.IsInFlight()) {
		xbdev::Poll(1, xbdev::Forever);
	}
	if (request.Result() < 0) {
		throw xbdev::Error(request.Result(), "reading " + path);
	}
	return nr_zero;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		std::cerr << "usage: volume FILE\n";
		return 2;
	}
	try {
		xbdev::Library library;

		xbdev::Check(xbdev_config_aio(argv[1], "myvol"));
		if (!Greet("myvol")) {
			std::cerr << xbdev_last_error() << '\n';
			return 1;
		}
		std::cout << CountZeroBlocks("myvol", 16) << " of 16 blocks are zeroes\n";
	} catch (const xbdev::Error &error) {
		std::cerr << error.what() << '\n';
		return 1;
	}
	return 0;
}
