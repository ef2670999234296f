/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libxbdev for C++17: owners of what the C interface gives out. What goes wrong is thrown as
 * xbdev::Error, whose what() is the library's sentence; each operation has an overload with a
 * std::error_code instead, which does not throw, and xbdev_last_error() has the sentence then.
 * xbdev::Volume tells by bool and throws from its constructor only.
 *
 * Devices and queues count as users of the library, so the order in which they go does not matter;
 * in embedded mode the last of them goes in the thread that started it. Objects may be moved, not
 * copied; one object is used by one thread at a time, and what is said of threads in the C headers
 * holds. Of all this only requests may be made, changed and ended in completion callbacks.
 */
#ifndef XBDEV_XBDEV_HPP
#define XBDEV_XBDEV_HPP

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <xbdev/xbdev.h>

namespace xbdev
{

/* An -errno of the library; code() compares with std::errc. */
class Error : public std::system_error
{
public:
	Error(long rc, const std::string &sentence)
	    : std::system_error(static_cast<int>(-rc), std::generic_category(), sentence)
	{
	}
	explicit Error(long rc) : Error(rc, xbdev_last_error())
	{
	}
};

using Microseconds = std::chrono::microseconds;
constexpr Microseconds Forever = Microseconds::max();

/* For calls of the C interface: the result, unless it is an error, which is thrown. */
template <typename T> T Check(T rc)
{
	if (rc < 0) {
		throw Error(static_cast<long>(rc));
	}
	return rc;
}

namespace detail
{

/* The result, or 0 with the error in `ec`. */
template <typename T> T Check(T rc, std::error_code &ec) noexcept
{
	if (rc < 0) {
		ec.assign(static_cast<int>(-rc), std::generic_category());
		return 0;
	}
	ec.clear();
	return rc;
}

inline std::uint64_t Timeout(Microseconds timeout) noexcept
{
	return timeout == Forever    ? UINT64_MAX
	       : timeout.count() < 0 ? 0
				     : static_cast<std::uint64_t>(timeout.count());
}

} // namespace detail

/* A user of the library: running it from construction to destruction. */
class Library
{
public:
	/* Starts it with the defaults, or joins its other users. */
	Library()
	{
		Check(xbdev_init());
	}
	/* Starts it; it must not run yet. */
	explicit Library(const xbdev_init_options_t &options)
	{
		Check(xbdev_init_with(&options));
	}
	Library(Library &&other) noexcept : is_user_(std::exchange(other.is_user_, false))
	{
	}
	Library &operator=(Library &&other) noexcept
	{
		std::swap(is_user_, other.is_user_);
		return *this;
	}
	Library(const Library &) = delete;
	Library &operator=(const Library &) = delete;
	~Library()
	{
		std::error_code ec;

		Close(ec);
	}

	/* Ends the use. It may be tried again when it fails. */
	void Close()
	{
		if (is_user_) {
			Check(xbdev_fini());
			is_user_ = false;
		}
	}
	void Close(std::error_code &ec) noexcept
	{
		ec.clear();
		if (is_user_) {
			detail::Check(xbdev_fini(), ec);
			is_user_ = static_cast<bool>(ec);
		}
	}

	/* Embedded mode: see xbdev_poll(). */
	int Poll(Microseconds timeout)
	{
		return Check(xbdev_poll(detail::Timeout(timeout)));
	}

	/* Makes a device of a JSON object, as in xsand.json(5). */
	void Configure(const std::string &json)
	{
		Check(xbdev_config_device(json.c_str()));
	}
	void Configure(const std::string &json, std::error_code &ec) noexcept
	{
		detail::Check(xbdev_config_device(json.c_str()), ec);
	}
	void Remove(const std::string &name)
	{
		Check(xbdev_config_remove(name.c_str()));
	}
	void Remove(const std::string &name, std::error_code &ec) noexcept
	{
		detail::Check(xbdev_config_remove(name.c_str()), ec);
	}

	/* All devices, in order of creation. */
	std::vector<xbdev_info_t> List() const
	{
		std::vector<xbdev_info_t> infos;
		int count = Check(xbdev_list(nullptr, 0));

		/* More may have come in between. */
		do {
			infos.resize(static_cast<std::size_t>(count));
			count = Check(xbdev_list(infos.data(), static_cast<int>(infos.size())));
		} while (static_cast<std::size_t>(count) > infos.size());
		infos.resize(static_cast<std::size_t>(count));
		return infos;
	}

private:
	bool is_user_ = true;
};

/* Memory that goes to devices without a copy: zeroed, aligned to 4 KiB. */
class Buffer
{
public:
	Buffer() = default;
	explicit Buffer(std::size_t size) : data_(xbdev_dma_buffer_alloc(size)), size_(size)
	{
		if (data_ == nullptr) {
			throw std::bad_alloc();
		}
	}
	Buffer(Buffer &&other) noexcept
	    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0))
	{
	}
	Buffer &operator=(Buffer &&other) noexcept
	{
		std::swap(data_, other.data_);
		std::swap(size_, other.size_);
		return *this;
	}
	Buffer(const Buffer &) = delete;
	Buffer &operator=(const Buffer &) = delete;
	~Buffer()
	{
		xbdev_dma_buffer_free(data_);
	}

	void *Data() noexcept
	{
		return data_;
	}
	const void *Data() const noexcept
	{
		return data_;
	}
	std::size_t Size() const noexcept
	{
		return size_;
	}
	template <typename T> T *As() noexcept
	{
		return static_cast<T *>(data_);
	}
	template <typename T> const T *As() const noexcept
	{
		return static_cast<const T *>(data_);
	}

private:
	void *data_ = nullptr;
	std::size_t size_ = 0;
};

/* An open device. Reads and writes transfer all of what is asked for or fail. */
class Device
{
public:
	/* By name or UUID; flags XBDEV_OPEN_... */
	explicit Device(const std::string &name, int flags = XBDEV_OPEN_READWRITE)
	    : fd_(Check(xbdev_open_with(name.c_str(), flags)))
	{
	}
	Device(Device &&other) noexcept
	    : library_(std::move(other.library_)), fd_(std::exchange(other.fd_, -1))
	{
	}
	Device &operator=(Device &&other) noexcept
	{
		std::swap(library_, other.library_);
		std::swap(fd_, other.fd_);
		return *this;
	}
	Device(const Device &) = delete;
	Device &operator=(const Device &) = delete;
	~Device()
	{
		std::error_code ec;

		Close(ec);
	}

	/* EBUSY: the device does not give back I/O; it may be tried again. */
	void Close()
	{
		if (fd_ >= 0) {
			Check(xbdev_close(fd_));
			fd_ = -1;
		}
	}
	void Close(std::error_code &ec) noexcept
	{
		ec.clear();
		if (fd_ >= 0) {
			detail::Check(xbdev_close(fd_), ec);
			fd_ = ec ? fd_ : -1;
		}
	}

	/* The descriptor, for functions of the C interface; -1 when it is closed. */
	int Fd() const noexcept
	{
		return fd_;
	}

	xbdev_info_t Info() const
	{
		xbdev_info_t info;

		Check(xbdev_get_info(fd_, &info));
		return info;
	}
	xbdev_info_t Info(std::error_code &ec) const noexcept
	{
		xbdev_info_t info{};

		detail::Check(xbdev_get_info(fd_, &info), ec);
		return info;
	}

	void Read(void *buf, std::size_t count, std::uint64_t offset)
	{
		Check(xbdev_read(fd_, buf, count, offset));
	}
	void Read(void *buf, std::size_t count, std::uint64_t offset, std::error_code &ec) noexcept
	{
		detail::Check(xbdev_read(fd_, buf, count, offset), ec);
	}

	/* flags: XBDEV_IO_FUA */
	void Write(
		const void *buf, std::size_t count, std::uint64_t offset, std::uint32_t flags = 0)
	{
		Check(xbdev_write_with(fd_, buf, count, offset, flags));
	}
	void Write(const void *buf, std::size_t count, std::uint64_t offset, std::error_code &ec,
		std::uint32_t flags = 0) noexcept
	{
		detail::Check(xbdev_write_with(fd_, buf, count, offset, flags), ec);
	}

	void Flush()
	{
		Check(xbdev_flush(fd_));
	}
	void Flush(std::error_code &ec) noexcept
	{
		detail::Check(xbdev_flush(fd_), ec);
	}

	void Discard(std::uint64_t offset, std::uint64_t count)
	{
		Check(xbdev_discard(fd_, offset, count));
	}
	void Discard(std::uint64_t offset, std::uint64_t count, std::error_code &ec) noexcept
	{
		detail::Check(xbdev_discard(fd_, offset, count), ec);
	}

	/* flags: XBDEV_IO_FUA, XBDEV_IO_MAY_UNMAP */
	void WriteZeroes(std::uint64_t offset, std::uint64_t count, std::uint32_t flags = 0)
	{
		Check(xbdev_write_zeroes(fd_, offset, count, flags));
	}
	void WriteZeroes(std::uint64_t offset, std::uint64_t count, std::error_code &ec,
		std::uint32_t flags = 0) noexcept
	{
		detail::Check(xbdev_write_zeroes(fd_, offset, count, flags), ec);
	}

	/* Whether the device holds these bytes. */
	bool Compare(const void *buf, std::size_t count, std::uint64_t offset)
	{
		int rc = xbdev_compare(fd_, buf, count, offset);

		return rc == -EBADE ? false : Check(rc) == 0;
	}
	bool Compare(const void *buf, std::size_t count, std::uint64_t offset,
		std::error_code &ec) noexcept
	{
		int rc = xbdev_compare(fd_, buf, count, offset);

		detail::Check(rc == -EBADE ? 0 : rc, ec);
		return rc == 0;
	}

private:
	Library library_;
	int fd_ = -1;
};

/*
 * An asynchronous I/O. It is given its operation, submitted to the thread's queue or to a Queue,
 * and completed by xbdev::Poll(), Queue::Poll() or Wait() in the thread that calls them; then its
 * callback runs, which may submit requests again and must not throw. A request that goes while it
 * is in flight on its thread's queue is cancelled and waited for; one that the device does not
 * give up is left behind, and its buffer must stay.
 */
class Request
{
public:
	/* The full count, 0 for operations without data, or -errno. */
	using Callback = std::function<void(Request &, int result)>;

	Request() : state_(std::make_shared<State>()), req_(xbdev_request_alloc())
	{
		if (req_ == nullptr) {
			throw std::bad_alloc();
		}
		state_->self = this;
		req_->user_cb = Completed;
		req_->user_arg = state_.get();
	}
	Request(Request &&other) noexcept
	    : state_(std::move(other.state_)), req_(std::exchange(other.req_, nullptr))
	{
		if (state_ != nullptr) {
			state_->self = this;
		}
	}
	Request &operator=(Request &&other) noexcept
	{
		std::swap(state_, other.state_);
		std::swap(req_, other.req_);
		if (state_ != nullptr) {
			state_->self = this;
		}
		if (other.state_ != nullptr) {
			other.state_->self = &other;
		}
		return *this;
	}
	Request(const Request &) = delete;
	Request &operator=(const Request &) = delete;
	~Request()
	{
		if (req_ == nullptr) {
			return;
		}
		state_->self = nullptr;
		if (IsInFlight()) {
			xbdev_request_cancel(req_);
		}
		if (xbdev_request_free(req_) != 0) {
			/* Its completion may still come, and looks at the state. */
			state_->keep = state_;
		}
	}

	Request &Read(const Device &device, void *buf, std::size_t count, std::uint64_t offset)
	{
		return Set(XBDEV_OP_READ, device, buf, count, offset, 0);
	}
	Request &Write(const Device &device, const void *buf, std::size_t count,
		std::uint64_t offset, std::uint32_t flags = 0)
	{
		return Set(XBDEV_OP_WRITE, device, const_cast<void *>(buf), count, offset, flags);
	}
	Request &Compare(
		const Device &device, const void *buf, std::size_t count, std::uint64_t offset)
	{
		return Set(XBDEV_OP_COMPARE, device, const_cast<void *>(buf), count, offset, 0);
	}
	Request &Flush(const Device &device)
	{
		return Set(XBDEV_OP_FLUSH, device, nullptr, 0, 0, 0);
	}
	Request &Discard(const Device &device, std::uint64_t offset, std::uint64_t count)
	{
		return Set(XBDEV_OP_DISCARD, device, nullptr, count, offset, 0);
	}
	Request &WriteZeroes(const Device &device, std::uint64_t offset, std::uint64_t count,
		std::uint32_t flags = 0)
	{
		return Set(XBDEV_OP_WRITE_ZEROES, device, nullptr, count, offset, flags);
	}
	/* Past it the I/O is cancelled and ends with -ETIMEDOUT; zero: never. */
	Request &TimeLimit(Microseconds limit)
	{
		req_->timeout_us = limit == Forever ? 0 : detail::Timeout(limit);
		return *this;
	}
	Request &Then(Callback callback)
	{
		state_->callback = std::move(callback);
		return *this;
	}

	/* On the calling thread's queue. EAGAIN: it is full. */
	void Submit()
	{
		Check(xbdev_request_submit(req_));
	}
	void Submit(std::error_code &ec) noexcept
	{
		detail::Check(xbdev_request_submit(req_), ec);
	}

	/* Waits and returns the result; throws when it is an error, or ETIMEDOUT when it is late.
	 */
	int Wait(Microseconds timeout = Forever)
	{
		Check(xbdev_request_wait(req_, detail::Timeout(timeout)));
		if (req_->result < 0) {
			throw Error(req_->result, xbdev_strerror(req_->result));
		}
		return req_->result;
	}
	int Wait(std::error_code &ec, Microseconds timeout = Forever) noexcept
	{
		detail::Check(xbdev_request_wait(req_, detail::Timeout(timeout)), ec);
		return ec ? 0 : detail::Check(req_->result, ec);
	}

	/* False: the device does not give it up. */
	bool Cancel()
	{
		int rc = xbdev_request_cancel(req_);

		return rc == -EBUSY ? false : Check(rc) == 0;
	}

	bool IsInFlight() const noexcept
	{
		return req_->result == -EINPROGRESS;
	}
	/* -EINPROGRESS while it is in flight. */
	int Result() const noexcept
	{
		return req_->result;
	}
	/* The request of the C interface; its user_cb and user_arg are this class's. */
	xbdev_request_t *Get() noexcept
	{
		return req_;
	}

private:
	struct State : std::enable_shared_from_this<State> {
		Request *self = nullptr; /* nullptr: it has gone */
		Callback callback;
		std::shared_ptr<State> keep;
	};

	static void Completed(xbdev_request_t *, int result, void *arg) noexcept
	{
		/* The callback may end the request, submit it anew or set another one. */
		std::shared_ptr<State> state = static_cast<State *>(arg)->shared_from_this();
		Callback callback = std::move(state->callback);

		state->callback = nullptr;
		if (state->self == nullptr || !callback) {
			return;
		}
		callback(*state->self, result);
		if (!state->callback) {
			state->callback = std::move(callback);
		}
	}

	Request &Set(int op, const Device &device, void *buf, std::size_t count,
		std::uint64_t offset, std::uint32_t flags)
	{
		req_->op_type = op;
		req_->fd = device.Fd();
		req_->buf = buf;
		req_->count = count;
		req_->offset = offset;
		req_->flags = flags;
		return *this;
	}

	std::shared_ptr<State> state_;
	xbdev_request_t *req_;
};

/* Completes up to `max` I/Os of the calling thread's queue; returns how many. */
inline unsigned Poll(unsigned max, Microseconds timeout = Microseconds(0))
{
	return static_cast<unsigned>(Check(xbdev_poll_completions(max, detail::Timeout(timeout))));
}

/* I/Os that are submitted together. */
class Batch
{
public:
	explicit Batch(int max_ios) : batch_(xbdev_io_batch_create(max_ios))
	{
		if (batch_ == nullptr) {
			throw std::bad_alloc();
		}
	}
	Batch(Batch &&other) noexcept : batch_(std::exchange(other.batch_, nullptr))
	{
	}
	Batch &operator=(Batch &&other) noexcept
	{
		std::swap(batch_, other.batch_);
		return *this;
	}
	Batch(const Batch &) = delete;
	Batch &operator=(const Batch &) = delete;
	/* One that is in flight is left behind. */
	~Batch()
	{
		xbdev_io_batch_free(batch_);
	}

	/* Return the I/O's index. */
	int Read(const Device &device, void *buf, std::size_t count, std::uint64_t offset)
	{
		return Add(device, buf, count, offset, XBDEV_OP_READ);
	}
	int Write(const Device &device, const void *buf, std::size_t count, std::uint64_t offset)
	{
		return Add(device, const_cast<void *>(buf), count, offset, XBDEV_OP_WRITE);
	}
	int Add(const Device &device, void *buf, std::size_t count, std::uint64_t offset, int op)
	{
		return Check(xbdev_io_batch_add(batch_, device.Fd(), buf, count, offset, op));
	}

	void Reset()
	{
		Check(xbdev_io_batch_reset(batch_));
	}
	int Result(int index) const noexcept
	{
		return xbdev_io_batch_result(batch_, index);
	}
	xbdev_io_batch_t *Get() noexcept
	{
		return batch_;
	}

private:
	xbdev_io_batch_t *batch_;
};

/* A named queue. */
class Queue
{
public:
	/* flags: XBDEV_QUEUE_... */
	explicit Queue(const std::string &name, int depth = 128, int flags = 0)
	    : id_(Check(xbdev_io_queue_create(name.c_str(), depth, flags)))
	{
	}
	Queue(Queue &&other) noexcept
	    : library_(std::move(other.library_)), id_(std::exchange(other.id_, -1))
	{
	}
	Queue &operator=(Queue &&other) noexcept
	{
		std::swap(library_, other.library_);
		std::swap(id_, other.id_);
		return *this;
	}
	Queue(const Queue &) = delete;
	Queue &operator=(const Queue &) = delete;
	~Queue()
	{
		std::error_code ec;

		Close(ec);
	}

	/* EBUSY: I/O does not come back within 5 s; it may be tried again. */
	void Close()
	{
		if (id_ >= 0) {
			Check(xbdev_io_queue_destroy(id_));
			id_ = -1;
		}
	}
	void Close(std::error_code &ec) noexcept
	{
		ec.clear();
		if (id_ >= 0) {
			detail::Check(xbdev_io_queue_destroy(id_), ec);
			id_ = ec ? id_ : -1;
		}
	}

	/* EAGAIN: the queue is full. */
	void Submit(Request &request)
	{
		Check(xbdev_io_queue_submit_request(id_, request.Get()));
	}
	void Submit(Request &request, std::error_code &ec) noexcept
	{
		detail::Check(xbdev_io_queue_submit_request(id_, request.Get()), ec);
	}
	void Submit(Batch &batch)
	{
		Check(xbdev_io_queue_submit(id_, batch.Get()));
	}
	void Submit(Batch &batch, std::error_code &ec) noexcept
	{
		detail::Check(xbdev_io_queue_submit(id_, batch.Get()), ec);
	}

	unsigned Poll(unsigned max, Microseconds timeout = Microseconds(0))
	{
		return static_cast<unsigned>(
			Check(xbdev_io_queue_poll(id_, max, detail::Timeout(timeout))));
	}
	/* Until nothing is in flight; the first error of a batch since the last time is thrown. */
	void Wait()
	{
		Check(xbdev_io_queue_wait(id_));
	}
	void Wait(std::error_code &ec) noexcept
	{
		detail::Check(xbdev_io_queue_wait(id_), ec);
	}
	/* As Wait(), and what was written through the queue is durable. */
	void Flush()
	{
		Check(xbdev_io_queue_flush(id_));
	}
	void Flush(std::error_code &ec) noexcept
	{
		detail::Check(xbdev_io_queue_flush(id_), ec);
	}

	int EventFd()
	{
		return Check(xbdev_io_queue_eventfd(id_));
	}
	/* Its number, for functions of the C interface; -1 when it is closed. */
	int Id() const noexcept
	{
		return id_;
	}

private:
	Library library_;
	int id_ = -1;
};

/* The plain way: a device whose operations say whether they succeeded. */
class Volume
{
public:
	/* By name or UUID. Throws Error. */
	Volume(const std::string &path) : device_(path)
	{
	}

	bool Read(void *buffer, std::size_t size, std::uint64_t offset)
	{
		device_.Read(buffer, size, offset, error_);
		return !error_;
	}
	bool Write(const void *buffer, std::size_t size, std::uint64_t offset)
	{
		device_.Write(buffer, size, offset, error_);
		return !error_;
	}
	bool Flush()
	{
		device_.Flush(error_);
		return !error_;
	}
	bool Discard(std::uint64_t offset, std::uint64_t size)
	{
		device_.Discard(offset, size, error_);
		return !error_;
	}
	bool WriteZeroes(std::uint64_t offset, std::uint64_t size)
	{
		device_.WriteZeroes(offset, size, error_);
		return !error_;
	}

	/* Of the last operation that returned false. */
	const std::error_code &LastError() const noexcept
	{
		return error_;
	}
	std::uint64_t Size() const
	{
		return device_.Info().size_bytes;
	}
	std::uint32_t BlockSize() const
	{
		return device_.Info().block_size;
	}
	Device &GetDevice() noexcept
	{
		return device_;
	}

private:
	Device device_;
	std::error_code error_;
};

} // namespace xbdev

#endif
