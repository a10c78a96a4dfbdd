// SPDX-License-Identifier: Apache-2.0

package limit

// distribution is what Explicit and Exponential have in common for the state of a stream. Both arguments of a method are always
// of the same type: a metric's kind is part of its identity. Methods may coarsen their argument.
type distribution interface {
	merge(o distribution, size int)
	fellBelow(o distribution) bool
	minus(o distribution)
	assign(o distribution)
	fresh() distribution
	observations() uint64
	dropExtremesIf(yes bool)
	bytes() int64
	needs() int64
	shrink()
	like(o distribution) bool
}

var (
	_ distribution = (*Explicit)(nil)
	_ distribution = (*Exponential)(nil)
)

func (e *Explicit) merge(o distribution, _ int)       { e.add(o.(*Explicit)) }
func (e *Explicit) fellBelow(o distribution) bool     { return e.fell(o.(*Explicit)) }
func (e *Explicit) minus(o distribution)              { e.subtract(o.(*Explicit)) }
func (e *Explicit) assign(o distribution)             { e.copyFrom(o.(*Explicit)) }
func (e *Explicit) fresh() distribution               { return &Explicit{} }
func (e *Explicit) observations() uint64              { return e.Count }
func (e *Explicit) dropExtremesIf(yes bool)           { e.HasMin, e.HasMax = e.HasMin && !yes, e.HasMax && !yes }
func (e *Exponential) merge(o distribution, size int) { e.add(o.(*Exponential), size) }
func (e *Exponential) fellBelow(o distribution) bool  { return e.fell(o.(*Exponential)) }
func (e *Exponential) minus(o distribution)           { e.subtract(o.(*Exponential)) }
func (e *Exponential) assign(o distribution)          { e.copyFrom(o.(*Exponential)) }
func (e *Exponential) fresh() distribution            { return &Exponential{} }
func (e *Exponential) observations() uint64           { return e.Count }

func (e *Explicit) like(o distribution) bool {
	_, same := o.(*Explicit)
	return same || o == nil
}

func (e *Exponential) like(o distribution) bool {
	_, same := o.(*Exponential)
	return same || o == nil
}

func (e *Exponential) dropExtremesIf(yes bool) {
	e.HasMin, e.HasMax = e.HasMin && !yes, e.HasMax && !yes
}
