// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/blas.h"

#include "engine/backend/cuda/blas_api.h"

#include <algorithm>

namespace kvilt::backend::cuda {
using namespace blas;

struct Blas::Functions {
#define KVILT_BLAS_POINTER(result, name, symbol, parameters) result(*name) parameters = nullptr;
    KVILT_BLAS_FUNCTIONS(KVILT_BLAS_POINTER)
#undef KVILT_BLAS_POINTER

    bool bind(const Library &library)
    {
        bool all = true;
#define KVILT_BLAS_BIND(result, name, symbolName, parameters)                                                                \
    name = reinterpret_cast<decltype(name)>(library.symbol(symbolName));                                                     \
    all = all && name != nullptr;
        KVILT_BLAS_FUNCTIONS(KVILT_BLAS_BIND)
#undef KVILT_BLAS_BIND
        return all;
    }
};

std::uint32_t Blas::alignmentOf(const void *at)
{
    const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(at));
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(address & (~address + 1), 256) + (address == 0 ? 256 : 0));
}

// One shape's description, layouts and algorithm. The library reads matrices by column: our rows are its columns, so it
// computes out^T = b a^T with b read transposed.
struct Blas::Plan {
    const Functions &f;
    void *description = nullptr, *a = nullptr, *b = nullptr, *out = nullptr;
    Found found{};

    explicit Plan(const Functions &functions) : f(functions) {}
    Plan(const Plan &) = delete;
    ~Plan()
    {
        for (void *layout : {a, b, out})
            if (layout)
                f.unlayout(layout);
        if (description)
            f.undescribe(description);
    }
    bool make(const kernels::cuda::Launch::Gemm &g, void *handle)
    {
        const int type = g.f16 ? kF16 : kBf16;
        const bool described = f.describe(&description, kCompute32, kF32) == 0 &&
                               f.setDescription(description, kTransposeA, &kTransposed, sizeof kTransposed) == 0 &&
                               f.setDescription(description, kTransposeB, &kNormal, sizeof kNormal) == 0 &&
                               f.layout(&b, type, g.k, g.n, std::int64_t(g.ldb)) == 0 &&
                               f.layout(&a, type, g.k, g.m, std::int64_t(g.lda)) == 0 &&
                               f.layout(&out, kF32, g.n, g.m, std::int64_t(g.ldc)) == 0;
        void *preference = nullptr;
        const std::size_t workspace = kWorkspaceBytes;
        // 256 bytes are taken for granted otherwise. One figure for all, as in the plan's key: whoever finds the plan has it too.
        const std::uint32_t alignment = std::min({alignmentOf(g.a), alignmentOf(g.b), alignmentOf(g.c)});
        const auto aligned = [&](int name) { return f.setPreference(preference, name, &alignment, sizeof alignment) == 0; };
        int count = 0;
        const bool searched = described && f.prefer(&preference) == 0 &&
                              f.setPreference(preference, kMaxWorkspace, &workspace, sizeof workspace) == 0 &&
                              aligned(kAlignmentA) && aligned(kAlignmentB) && aligned(kAlignmentC) && aligned(kAlignmentD) &&
                              f.search(handle, description, b, a, out, out, preference, 1, &found, &count) == 0;
        if (preference)
            f.unprefer(preference);
        return searched && count > 0 && found.state == 0;
    }
};

Blas::Blas() : m_functions(std::make_unique<Functions>()) {}

Blas::~Blas()
{
    m_plans.clear();
    if (m_handle)
        m_functions->destroy(m_handle);
}

std::unique_ptr<Blas> Blas::open(Memory workspace)
{
    for (const char *name : {"libcublasLt.so.13", "libcublasLt.so.12"}) {
        auto library = Library::open(name);
        if (!library)
            continue;
        std::unique_ptr<Blas> blas(new Blas);
        blas->m_library = std::move(*library);
        blas->m_workspace = std::move(workspace);
        if (!blas->m_functions->bind(*blas->m_library) || blas->m_functions->create(&blas->m_handle) != 0)
            return nullptr;
        blas->m_version = std::to_string(blas->m_functions->version());
        return blas;
    }
    return nullptr;
}

std::unique_ptr<Blas::Plan> Blas::plan(const kernels::cuda::Launch::Gemm &gemm) const
{
    auto made = std::make_unique<Plan>(*m_functions);
    return made->make(gemm, m_handle) ? std::move(made) : nullptr;
}

const Blas::Plan *Blas::planFor(const kernels::cuda::Launch::Gemm &g)
{
    const std::uint32_t alignment = std::min({alignmentOf(g.a), alignmentOf(g.b), alignmentOf(g.c)});
    const auto [at, fresh] = m_plans.try_emplace({g.m, g.n, g.k, g.lda, g.ldb, g.ldc, alignment, g.f16, g.add});
    if (fresh)
        at->second = plan(g);
    return at->second.get();
}

bool Blas::multiply(const kernels::cuda::Launch::Gemm &g, api::Stream stream)
{
    const Plan *p = planFor(g);
    if (!p)
        return false;
    const float one = 1, old = g.add ? 1.0f : 0.0f;
    return m_functions->multiply(m_handle, p->description, &one, g.b, p->b, g.a, p->a, &old, g.c, p->out, g.c, p->out,
                                 p->found.algorithm, m_workspace.data(), m_workspace.size(), stream) == 0;
}

} // namespace kvilt::backend::cuda
