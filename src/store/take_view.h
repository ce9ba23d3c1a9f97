// How a reader gets a view that is complete at its revision while the apply thread goes on.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "store/mvcc_view.h"
#include "store/range_read.h"

namespace raftkv::store {

// `make` makes a view of what RocksDB holds now. `revision` is published after its data is written,
// so a view made after reading it has all of that revision. `compact_revision` is published before
// the first version below it is removed, so that if the view misses any, reading it after the view
// was made tells. The newest revision is then too old to be read itself, and is taken anew. Both
// must be of the family that `make` reads, for as long as the view is used: after a switch to
// another family (KvStore::SwitchTo) they stay what they were.
template <typename MakeView>
std::pair<MvccView, ReadBounds> TakeView(const std::atomic<int64_t>& revision,
                                         const std::atomic<int64_t>& compact_revision,
                                         const MakeView& make) {
  for (;;) {
    ReadBounds bounds;
    bounds.revision = revision.load();
    MvccView view = make();
    bounds.compact_revision = compact_revision.load();
    if (bounds.revision >= bounds.compact_revision) return {std::move(view), bounds};
  }
}

}  // namespace raftkv::store
