/* SPDX-License-Identifier: BSD-3-Clause */
/* The C++ interface against the installed library: each class, its errors, and what happens when
 * objects move and go. Ends with the first expectation that does not hold. */
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <xbdev/xbdev.hpp>

#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			std::cerr << __FILE__ << ':' << __LINE__ << ": " #condition << '\n';       \
			std::exit(1);                                                              \
		}                                                                                  \
	} while (false)

static constexpr std::size_t Block = 4096;

/* The std::errc that a function throws. */
template <typename Fn> static std::error_code Thrown(Fn fn)
{
	try {
		fn();
	} catch (const xbdev::Error &error) {
		EXPECT(std::string(error.what()).size() > 10);
		return error.code();
	}
	return {};
}

/* ---- as the document has it ---- */

static void TestVolumeSaysWhetherItSucceeded()
{
	std::string path = "mem0";
	xbdev::Volume volume(path);
	char out[Block] = "volume", in[Block] = "";

	EXPECT(volume.Write(out, sizeof(out), 0));
	EXPECT(volume.Read(in, sizeof(in), 0));
	EXPECT(std::memcmp(in, out, sizeof(in)) == 0);
	EXPECT(volume.Flush());
	EXPECT(volume.Size() == 4u << 20 && volume.BlockSize() == Block);
	EXPECT(!volume.Read(in, sizeof(in), 4u << 20));
	EXPECT(volume.LastError() == std::errc::invalid_argument);
	EXPECT(!volume.Write(out, 100, 0));
	EXPECT(volume.Discard(0, Block));
	EXPECT(volume.Read(in, sizeof(in), 0) && in[0] == 0);
	EXPECT(volume.Write(out, sizeof(out), 0) && volume.WriteZeroes(0, Block));
	EXPECT(volume.Read(in, sizeof(in), 0) && in[0] == 0);
	EXPECT(Thrown([] { xbdev::Volume nothing("nothing"); }) == std::errc::no_such_device);
}

/* ---- the library and devices ---- */

static void TestTheLibraryRunsWhileItHasUsers()
{
	xbdev_init_options_t options{};
	std::error_code ec;

	options.size = sizeof(options);
	{
		xbdev::Library library(options);

		library.Configure(R"({"driver": "malloc", "name": "m", "size": "1MiB"})");
		EXPECT(Thrown([&] { xbdev::Library second(options); }) ==
			std::errc::connection_already_in_progress);
		library.Configure(R"({"driver": "malloc", "name": "m"})", ec);
		EXPECT(ec == std::errc::invalid_argument);
		EXPECT(library.List().size() == 1 && std::string(library.List()[0].name) == "m");

		xbdev::Device device("m");
		xbdev::Library moved(std::move(library));

		moved.Close();
		/* The device keeps it running. */
		device.Flush();
	}
	EXPECT(xbdev_fini() == -ESHUTDOWN);
}

static void TestDevicesMoveAndClose()
{
	char buf[Block] = "device";
	std::error_code ec;
	xbdev::Device device("mem0"), other("mem0", XBDEV_OPEN_READ);
	int fd = device.Fd();

	xbdev::Device moved(std::move(device));
	EXPECT(moved.Fd() == fd && device.Fd() == -1);
	device = std::move(moved);
	EXPECT(device.Fd() == fd);

	device.Write(buf, Block, 0, XBDEV_IO_FUA);
	EXPECT(device.Compare(buf, Block, 0) && !device.Compare(buf, Block, Block));
	EXPECT(device.Compare(buf, Block, 0, ec) && !ec);
	EXPECT(Thrown([&] { other.Write(buf, Block, 0); }) == std::errc::read_only_file_system);
	other.Write(buf, Block, 0, ec);
	EXPECT(ec == std::errc::read_only_file_system);
	other.Read(buf, Block, 0, ec);
	EXPECT(!ec);
	device.WriteZeroes(0, Block, ec, XBDEV_IO_MAY_UNMAP);
	EXPECT(!ec);
	device.Discard(0, Block, ec);
	EXPECT(!ec && std::string(device.Info().name) == "mem0");
	device.Close();
	EXPECT(Thrown([&] { device.Flush(); }) == std::errc::bad_file_descriptor);
	device.Info(ec);
	EXPECT(ec == std::errc::bad_file_descriptor);
	device.Close();
}

static void TestBuffers()
{
	xbdev::Buffer empty, buffer(3 * Block);

	EXPECT(empty.Data() == nullptr && empty.Size() == 0);
	EXPECT(reinterpret_cast<std::uintptr_t>(buffer.Data()) % 4096 == 0);
	EXPECT(buffer.Size() == 3 * Block && buffer.As<char>()[2 * Block] == 0);
	empty = std::move(buffer);
	EXPECT(empty.Size() == 3 * Block && buffer.Data() == nullptr);
	static_assert(!std::is_copy_constructible_v<xbdev::Buffer>);
	try {
		xbdev::Buffer impossible(SIZE_MAX);
		EXPECT(false);
	} catch (const std::bad_alloc &) {
	}
}

/* ---- asynchronous I/O ---- */

static void TestRequestsCompleteInCallbacks()
{
	xbdev::Device device("mem0");
	xbdev::Buffer buffer(Block);
	xbdev::Request request;
	int nr_called = 0;

	std::strcpy(buffer.As<char>(), "request");
	request.Write(device, buffer.Data(), Block, 0).Then([&](xbdev::Request &self, int result) {
		EXPECT(&self == &request && result == static_cast<int>(Block));
		if (++nr_called < 3) {
			self.Submit();
		}
	});
	EXPECT(!request.IsInFlight());
	request.Submit();
	EXPECT(Thrown([&] { request.Submit(); }) == std::errc::device_or_resource_busy);
	while (nr_called < 3) {
		xbdev::Poll(1, xbdev::Forever);
	}
	EXPECT(request.Result() == static_cast<int>(Block));

	/* It may move while it is in flight. */
	request.Then(nullptr).Read(device, buffer.Data(), Block, 0).Submit();
	xbdev::Request moved(std::move(request));
	EXPECT(moved.Wait() == static_cast<int>(Block));
	EXPECT(std::string(buffer.As<char>()) == "request");

	/* Errors come from waiting, the callback is told them too. */
	moved.Read(device, buffer.Data(), Block, 1ull << 40).Submit();
	EXPECT(Thrown([&] { moved.Wait(); }) == std::errc::invalid_argument);
	std::error_code ec;
	moved.Submit();
	moved.Wait(ec);
	EXPECT(ec == std::errc::invalid_argument);
	moved.Flush(device).Submit(ec);
	EXPECT(!ec && moved.Wait(ec) == 0 && !ec);
}

static void TestARequestMayEndInItsCallback()
{
	xbdev::Device device("mem0");
	xbdev::Buffer buffer(Block);
	auto request = std::make_unique<xbdev::Request>();
	bool is_over = false;

	request->Read(device, buffer.Data(), Block, 0).Then([&](xbdev::Request &, int) {
		request.reset();
		is_over = true;
	});
	request->Submit();
	while (!is_over) {
		xbdev::Poll(1, xbdev::Forever);
	}
	EXPECT(request == nullptr);
}

static void TestARequestThatGoesIsCancelled()
{
	xbdev::Library library;
	xbdev::Buffer buffer(Block);
	bool was_called = false;

	library.Configure(R"({"driver": "malloc", "name": "under", "size": "1MiB"})");
	library.Configure(R"({"driver": "delay", "name": "slow", "base": "under",
			      "avg_read_latency_us": 3600000000})");
	xbdev::Device device("slow");
	{
		xbdev::Request request;

		request.Read(device, buffer.Data(), Block, 0).Then([&](xbdev::Request &, int) {
			was_called = true;
		});
		request.Submit();
		std::error_code ec;
		request.Wait(ec, xbdev::Microseconds(1000));
		EXPECT(ec == std::errc::timed_out && request.IsInFlight());
	}
	EXPECT(!was_called);

	xbdev::Request limited;

	limited.Read(device, buffer.Data(), Block, 0).TimeLimit(xbdev::Microseconds(1000)).Submit();
	EXPECT(Thrown([&] { limited.Wait(); }) == std::errc::timed_out);
	limited.TimeLimit(xbdev::Forever).Submit();
	/* The device may have been done with it already. */
	EXPECT(limited.Cancel() && !limited.IsInFlight());
	device.Close();
	library.Remove("slow");
	library.Remove("under");
}

static void TestQueuesAndBatches()
{
	xbdev::Device device("mem0");
	xbdev::Queue queue("queue", 16, XBDEV_QUEUE_POLLING);
	xbdev::Buffer buffer(8 * Block);
	xbdev::Batch batch(8);
	xbdev::Request request;
	std::error_code ec;

	EXPECT(Thrown([] { xbdev::Queue again("queue"); }) == std::errc::file_exists);
	for (int i = 0; i < 8; i++) {
		char *block = buffer.As<char>() + i * Block;

		std::memset(block, 'a' + i, Block);
		EXPECT(batch.Write(device, block, Block, i * Block) == i);
	}
	EXPECT(Thrown([&] { batch.Read(device, buffer.Data(), Block, 0); }) ==
		std::errc::no_space_on_device);
	queue.Submit(batch);
	queue.Flush();
	EXPECT(batch.Result(7) == static_cast<int>(Block));

	batch.Reset();
	std::memset(buffer.Data(), 0, buffer.Size());
	batch.Read(device, buffer.Data(), 4 * Block, 0);
	queue.Submit(batch);
	queue.Submit(request.Read(device, buffer.As<char>() + 4 * Block, 4 * Block, 4 * Block));
	while (request.IsInFlight() || batch.Result(0) == -EINPROGRESS) {
		queue.Poll(16, xbdev::Microseconds(1000));
	}
	for (int i = 0; i < 8; i++) {
		EXPECT(buffer.As<char>()[i * Block] == 'a' + i);
	}

	batch.Reset();
	batch.Read(device, buffer.Data(), Block, 1ull << 40);
	queue.Submit(batch, ec);
	EXPECT(!ec);
	queue.Wait(ec);
	EXPECT(ec == std::errc::invalid_argument);
	queue.Wait();
	EXPECT(queue.EventFd() >= 0);

	xbdev::Queue moved(std::move(queue));
	EXPECT(queue.Id() == -1);
	moved.Submit(request);
	moved.Wait();
	EXPECT(request.Result() == static_cast<int>(4 * Block));
	moved.Close();
	EXPECT(Thrown([&] { moved.Poll(1); }) == std::errc::bad_file_descriptor);
}

static void TestThreadsHaveTheirOwnQueues()
{
	xbdev::Device device("mem0");
	std::vector<std::thread> threads;

	for (unsigned i = 0; i < 4; i++) {
		threads.emplace_back([&device, i] {
			xbdev::Buffer out(Block), in(Block);
			xbdev::Request request;

			for (unsigned round = 0; round < 100; round++) {
				std::memset(out.Data(), static_cast<int>(i * 50 + round), Block);
				request.Write(device, out.Data(), Block, i * Block).Submit();
				request.Wait();
				device.Read(in.Data(), Block, i * Block);
				EXPECT(std::memcmp(out.Data(), in.Data(), Block) == 0);
			}
		});
	}
	for (std::thread &thread : threads) {
		thread.join();
	}
}

static void TestEmbedded()
{
	xbdev_init_options_t options{};

	options.size = sizeof(options);
	options.is_embedded = true;
	xbdev::Library library(options);
	library.Configure(R"({"driver": "malloc", "name": "m", "size": "1MiB"})");
	xbdev::Device device("m");
	xbdev::Buffer buffer(Block);
	xbdev::Request request;

	request.Read(device, buffer.Data(), Block, 0).Submit();
	EXPECT(request.Wait() == static_cast<int>(Block));
	EXPECT(library.Poll(xbdev::Microseconds(0)) >= 0);
}

int main()
{
	TestTheLibraryRunsWhileItHasUsers();
	TestEmbedded();
	{
		xbdev::Library library;

		library.Configure(R"({"driver": "malloc", "name": "mem0", "size": "4MiB",
				      "block_size": 4096})");
		TestVolumeSaysWhetherItSucceeded();
		TestDevicesMoveAndClose();
		TestBuffers();
		TestRequestsCompleteInCallbacks();
		TestARequestMayEndInItsCallback();
		TestARequestThatGoesIsCancelled();
		TestQueuesAndBatches();
		TestThreadsHaveTheirOwnQueues();
	}
	EXPECT(xbdev_fini() == -ESHUTDOWN);
	return 0;
}
