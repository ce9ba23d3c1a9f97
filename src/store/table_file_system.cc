#include "store/table_file_system.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <xxhash.h>

#include "common/coding.h"

namespace raftkv::store {
namespace {

using rocksdb::FileOptions;
using rocksdb::FSRandomAccessFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// The footer, since format version 1 (RocksDB's table/format.h):
//
//   0 u8 type of the checksums   1 varints: offset and size of the block that lists the meta
//   blocks, offset and size of the index, zeros   41 u32 format version   45 u64 magic number
constexpr uint64_t kFooterBytes = 53;
constexpr uint64_t kFooterHandles = 1;
constexpr uint64_t kFooterVersion = 41;
constexpr uint64_t kTableMagic = 0x88e241b785f4cff7;
// What TableOptions (engine_options.cc) asks for.
constexpr uint32_t kFormatVersion = 5;
constexpr uint8_t kXxh3 = 4;
// Behind each block: u8 compression type, u32 checksum of both.
constexpr uint64_t kBlockTrailerBytes = 5;
// Behind the records of a block of meta blocks: u32 for each restart, u32 their number.
constexpr uint64_t kRestartBytes = 4;
constexpr char kPropertiesName[] = "rocksdb.properties";

// What is read at once. The properties are written last but for two blocks of some hundred bytes.
constexpr uint64_t kTailBytes = 8 << 10;

struct BlockHandle {
  uint64_t offset = 0;
  uint64_t size = 0;
};

bool ConsumeHandle(std::string_view* in, BlockHandle* handle) {
  return ConsumeVarint(in, &handle->offset) && ConsumeVarint(in, &handle->size);
}

// As they are written: every bit of the footer is looked at.
std::string FooterHandles(const BlockHandle& meta, const BlockHandle& index) {
  std::string bytes;
  for (const uint64_t v : {meta.offset, meta.size, index.offset, index.size}) {
    AppendVarint(&bytes, v);
  }
  bytes.resize(kFooterVersion - kFooterHandles, '\0');
  return bytes;
}

// RocksDB's kXXH3: the low half of the hash, and the last byte, the compression type, on top.
uint32_t Checksum(std::string_view block, uint8_t compression) {
  return static_cast<uint32_t>(XXH3_64bits(block.data(), block.size())) ^ compression * 0x6b9083d9u;
}

class TableTail {
 public:
  TableTail(const std::string& path, FSRandomAccessFile* file, const IOOptions& options,
            IODebugContext* debug)
      : path_(path), file_(file), options_(options), debug_(debug) {}

  IOStatus Check(uint64_t file_bytes) {
    if (file_bytes < kFooterBytes) return IOStatus::OK();
    blocks_end_ = file_bytes - kFooterBytes;
    tail_begin_ = file_bytes - std::min(file_bytes, kTailBytes);
    IOStatus status = Read(tail_begin_, file_bytes - tail_begin_, &tail_);
    if (!status.ok()) return status;
    const std::string_view footer = std::string_view(tail_).substr(tail_.size() - kFooterBytes);
    std::string_view rest = footer.substr(kFooterVersion);
    uint32_t version = 0;
    uint64_t magic = 0;
    ConsumeLittleEndian32(&rest, &version);
    ConsumeLittleEndian64(&rest, &magic);
    if (magic != kTableMagic) return IOStatus::OK();
    // RocksDB would read it as one of the older version that a flipped bit makes of it.
    if (version != kFormatVersion || static_cast<uint8_t>(footer[0]) != kXxh3) {
      return Damaged("it is not of the format that raftkv's tables have");
    }

    BlockHandle meta;
    BlockHandle index;
    const std::string_view handles = footer.substr(kFooterHandles, kFooterVersion - kFooterHandles);
    rest = handles;
    const bool is_there = ConsumeHandle(&rest, &meta) && ConsumeHandle(&rest, &index) &&
                          handles == FooterHandles(meta, index) && Inside(meta) && Inside(index);
    if (!is_there) return Damaged("the footer does not say where its blocks are");
    std::string block;
    status = ReadBlock(meta, "the list of meta blocks", &block);
    if (!status.ok()) return status;
    const std::optional<BlockHandle> properties = FindProperties(block);
    return properties ? ReadBlock(*properties, "the properties block", &block) : IOStatus::OK();
  }

 private:
  bool Inside(const BlockHandle& handle) const {
    return handle.offset <= blocks_end_ && handle.size <= blocks_end_ - handle.offset &&
           kBlockTrailerBytes <= blocks_end_ - handle.offset - handle.size;
  }

  IOStatus Damaged(const std::string& what) const {
    return IOStatus::Corruption("the table " + path_ + " is damaged", what);
  }

  IOStatus Read(uint64_t offset, uint64_t bytes, std::string* out) const {
    out->resize(bytes);
    Slice got;
    const IOStatus status = file_->Read(offset, bytes, options_, &got, out->data(), debug_);
    if (!status.ok()) return status;
    if (got.size() < bytes) return IOStatus::IOError(path_, "fewer bytes were read than there are");
    if (got.data() != out->data()) out->assign(got.data(), got.size());
    return IOStatus::OK();
  }

  // Its checksum is right, or Corruption.
  IOStatus ReadBlock(const BlockHandle& handle, const std::string& name, std::string* out) const {
    if (!Inside(handle)) return Damaged(name + " is not where it should be");
    const uint64_t bytes = handle.size + kBlockTrailerBytes;
    if (handle.offset >= tail_begin_) {
      *out = tail_.substr(handle.offset - tail_begin_, bytes);
    } else {
      const IOStatus status = Read(handle.offset, bytes, out);
      if (!status.ok()) return status;
    }
    std::string_view trailer = std::string_view(*out).substr(handle.size);
    uint8_t compression = 0;
    uint32_t stored = 0;
    ConsumeByte(&trailer, &compression);
    ConsumeLittleEndian32(&trailer, &stored);
    out->resize(handle.size);
    if (Checksum(*out, compression) == stored) return IOStatus::OK();
    return Damaged("the checksum of " + name + " at offset " + std::to_string(handle.offset) +
                   " does not match");
  }

  // Records are varints, the length of what is shared with the key before, of the rest of the key
  // and of the value, and these. Each is a restart here, so nothing is shared.
  static std::optional<BlockHandle> FindProperties(std::string_view block) {
    if (block.size() < kRestartBytes) return std::nullopt;
    std::string_view end = block.substr(block.size() - kRestartBytes);
    uint32_t restarts = 0;
    ConsumeLittleEndian32(&end, &restarts);
    if (restarts >= block.size() / kRestartBytes) return std::nullopt;
    block.remove_suffix((restarts + 1) * kRestartBytes);
    uint64_t shared = 0;
    uint64_t key = 0;
    uint64_t value = 0;
    while (ConsumeVarint(&block, &shared) && ConsumeVarint(&block, &key) &&
           ConsumeVarint(&block, &value)) {
      if (shared != 0 || key > block.size() || value > block.size() - key) return std::nullopt;
      std::string_view handle_bytes = block.substr(key, value);
      BlockHandle handle;
      if (block.substr(0, key) == kPropertiesName && ConsumeHandle(&handle_bytes, &handle)) {
        return handle;
      }
      block.remove_prefix(key + value);
    }
    return std::nullopt;
  }

  const std::string& path_;
  FSRandomAccessFile* const file_;
  const IOOptions& options_;
  IODebugContext* const debug_;
  uint64_t blocks_end_ = 0;  // where the footer begins
  uint64_t tail_begin_ = 0;
  std::string tail_;
};

class TableFileSystem : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "raftkv.TableFileSystem"; }

  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions& options,
                               std::unique_ptr<FSRandomAccessFile>* out,
                               IODebugContext* debug) override {
    IOStatus status = FileSystemWrapper::NewRandomAccessFile(path, options, out, debug);
    if (!status.ok() || !path.ends_with(".sst")) return status;
    uint64_t bytes = 0;
    status = GetFileSize(path, options.io_options, &bytes, debug);
    if (status.ok()) {
      status = TableTail(path, out->get(), options.io_options, debug).Check(bytes);
    }
    if (!status.ok()) out->reset();
    return status;
  }
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> NewTableFileSystem(std::shared_ptr<rocksdb::FileSystem> base) {
  return std::make_shared<TableFileSystem>(std::move(base));
}

}  // namespace raftkv::store
