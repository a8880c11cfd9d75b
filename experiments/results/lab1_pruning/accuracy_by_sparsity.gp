# gnuplot accuracy_by_sparsity.gp draws accuracy_by_sparsity.svg and accuracy_by_sparsity.png from accuracy_by_sparsity.tsv
set datafile separator tab
set encoding utf8
set title 'Pruning weights and activations of every Linear: accuracy by sparsity' noenhanced
set xlabel 'sparsity (share of zeros)' noenhanced
set ylabel 'test accuracy (mean, 95 % interval over seeds)' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'accuracy_by_sparsity.svg'
plot 'accuracy_by_sparsity.tsv' every ::1::9 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'accuracy_by_sparsity.tsv' every ::1::9 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'l1, fine-tuned 5 epochs', \
     'accuracy_by_sparsity.tsv' every ::10::18 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'accuracy_by_sparsity.tsv' every ::10::18 using 2:3 with linespoints lc rgb '#CC6677' dt 2 lw 2 pt 5 ps 0.8 pi 1 title 'random, fine-tuned 5 epochs', \
     'accuracy_by_sparsity.tsv' every ::19::27 using 2:3:4:5 with yerrorbars lc rgb '#117733' lw 1.5 ps 0 notitle, \
     'accuracy_by_sparsity.tsv' every ::19::27 using 2:3 with linespoints lc rgb '#117733' dt 4 lw 2 pt 9 ps 0.8 pi 1 title 'l1, as pruned', \
     'accuracy_by_sparsity.tsv' every ::28::36 using 2:3:4:5 with yerrorbars lc rgb '#DDAA33' lw 1.5 ps 0 notitle, \
     'accuracy_by_sparsity.tsv' every ::28::36 using 2:3 with linespoints lc rgb '#DDAA33' dt 1 lw 2 pt 13 ps 0.8 pi 1 title 'random, as pruned', \
     'accuracy_by_sparsity.tsv' every ::37::38 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'accuracy_by_sparsity.tsv' every ::37::38 using 2:3 with lines lc rgb 'black' dt 2 lw 2 title 'dense, 5 more epochs (control)', \
     'accuracy_by_sparsity.tsv' every ::39::40 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'accuracy_by_sparsity.tsv' every ::39::40 using 2:3 with lines lc rgb 'black' dt 3 lw 2 title 'dense, the base'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'accuracy_by_sparsity.png'
plot 'accuracy_by_sparsity.tsv' every ::1::9 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'accuracy_by_sparsity.tsv' every ::1::9 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'l1, fine-tuned 5 epochs', \
     'accuracy_by_sparsity.tsv' every ::10::18 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'accuracy_by_sparsity.tsv' every ::10::18 using 2:3 with linespoints lc rgb '#CC6677' dt 2 lw 2 pt 5 ps 0.8 pi 1 title 'random, fine-tuned 5 epochs', \
     'accuracy_by_sparsity.tsv' every ::19::27 using 2:3:4:5 with yerrorbars lc rgb '#117733' lw 1.5 ps 0 notitle, \
     'accuracy_by_sparsity.tsv' every ::19::27 using 2:3 with linespoints lc rgb '#117733' dt 4 lw 2 pt 9 ps 0.8 pi 1 title 'l1, as pruned', \
     'accuracy_by_sparsity.tsv' every ::28::36 using 2:3:4:5 with yerrorbars lc rgb '#DDAA33' lw 1.5 ps 0 notitle, \
     'accuracy_by_sparsity.tsv' every ::28::36 using 2:3 with linespoints lc rgb '#DDAA33' dt 1 lw 2 pt 13 ps 0.8 pi 1 title 'random, as pruned', \
     'accuracy_by_sparsity.tsv' every ::37::38 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'accuracy_by_sparsity.tsv' every ::37::38 using 2:3 with lines lc rgb 'black' dt 2 lw 2 title 'dense, 5 more epochs (control)', \
     'accuracy_by_sparsity.tsv' every ::39::40 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'accuracy_by_sparsity.tsv' every ::39::40 using 2:3 with lines lc rgb 'black' dt 3 lw 2 title 'dense, the base'
